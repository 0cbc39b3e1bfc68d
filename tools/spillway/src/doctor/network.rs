//! How the kernel sends: congestion control, queueing discipline, the backlog of connections, and connection tracking.

use super::finding::Finding;
use super::machine::Machine;

/// Connections that may wait to be accepted: what the listeners ask for.
const GOOD_BACKLOG: u64 = 4096;

/// Tracked connections that a busy release and its tracker need.
const GOOD_TRACKED: u64 = 262_144;

pub(super) fn look(machine: &Machine) -> Vec<Finding> {
    let ipv4 = |name: &str| machine.text(format!("/proc/sys/net/ipv4/{name}"));
    let core = |name: &str| machine.text(format!("/proc/sys/net/core/{name}"));
    let control = ipv4("tcp_congestion_control");
    let mut findings = vec![
        congestion(control.as_deref(), ipv4("tcp_available_congestion_control").as_deref()),
        discipline(core("default_qdisc").as_deref()),
        backlog(core("somaxconn").and_then(|text| text.parse().ok())),
    ];
    // Where nothing is tracked there is nothing to say.
    findings.extend(machine.number("/proc/sys/net/netfilter/nf_conntrack_max").map(tracked));
    findings
}

fn congestion(control: Option<&str>, available: Option<&str>) -> Finding {
    const WHY: &str = "Over lossy paths BBR sends several times what cubic does";
    let Some(control) = control else {
        return Finding::unknown("congestion", "no /proc/sys/net/ipv4/tcp_congestion_control");
    };
    if control.starts_with("bbr") {
        return Finding::ok("congestion", control);
    }
    let loaded = available.is_some_and(|available| available.split_whitespace().any(|name| name == "bbr"));
    let load = if loaded { "" } else { "modprobe tcp_bbr; " };
    Finding::advice("congestion", control, format!("{load}sysctl net.ipv4.tcp_congestion_control=bbr"), WHY)
}

fn discipline(name: Option<&str>) -> Finding {
    match name {
        None => Finding::unknown("qdisc", "no /proc/sys/net/core/default_qdisc"),
        Some("fq") => Finding::ok("qdisc", "fq"),
        Some(name) => Finding::advice(
            "qdisc",
            format!("{name} by default"),
            "sysctl net.core.default_qdisc=fq, and for a card that is up: tc qdisc replace dev NAME root fq (mq first, if it has \
             several queues)",
            "fq paces each connection, which BBR relies on, and serves them in turn",
        ),
    }
}

fn backlog(limit: Option<u64>) -> Finding {
    match limit {
        None => Finding::unknown("backlog", "no /proc/sys/net/core/somaxconn"),
        Some(limit) if limit < GOOD_BACKLOG => Finding::advice(
            "backlog",
            format!("net.core.somaxconn is {limit}"),
            format!("sysctl net.core.somaxconn={GOOD_BACKLOG}"),
            "A release's first seconds bring thousands of connections at once",
        ),
        Some(limit) => Finding::ok("backlog", format!("net.core.somaxconn is {limit}")),
    }
}

fn tracked(limit: u64) -> Finding {
    if limit >= GOOD_TRACKED {
        return Finding::ok("conntrack", format!("nf_conntrack_max is {limit}"));
    }
    Finding::advice(
        "conntrack",
        format!("nf_conntrack_max is {limit}"),
        format!(
            "sysctl net.netfilter.nf_conntrack_max={GOOD_TRACKED}, or leave the ports of peers and tracker untracked"
        ),
        "When the table is full, the firewall drops new peers",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Verdict;

    #[test]
    fn bbr_is_loaded_first_where_it_is_not() {
        assert_eq!(congestion(Some("bbr"), None).verdict, Verdict::Ok);
        let change = |available| congestion(Some("cubic"), available).change.unwrap();
        assert!(!change(Some("reno cubic bbr")).contains("modprobe"));
        assert!(change(Some("reno cubic")).starts_with("modprobe tcp_bbr; "));
        assert_eq!(congestion(None, None).verdict, Verdict::Unknown);
    }

    #[test]
    fn a_small_backlog_or_table_is_advice() {
        assert_eq!(backlog(Some(128)).verdict, Verdict::Advice);
        assert_eq!(backlog(Some(4096)).verdict, Verdict::Ok);
        assert_eq!(tracked(65_536).verdict, Verdict::Advice);
        assert_eq!(tracked(1 << 20).verdict, Verdict::Ok);
        assert_eq!(discipline(Some("pfifo_fast")).verdict, Verdict::Advice);
        assert_eq!(discipline(None).verdict, Verdict::Unknown);
    }

    #[test]
    fn a_machine_without_proc_is_unknown_and_nothing_worse() {
        let folder = tempfile::tempdir().unwrap();
        let findings = look(&Machine::under(folder.path()));
        assert!(findings.iter().all(|finding| finding.verdict == Verdict::Unknown), "{findings:?}");
        assert_eq!(findings.len(), 3);
    }
}
