//! Network cards: queues against cores, and over which cores their interrupts are spread.

use super::finding::Finding;
use super::machine::Machine;

/// A core that takes more than this part of a card's interrupts is what limits it.
const CROWDED_PERCENT: u128 = 80;

/// With fewer interrupts than this nothing can be said of their spread.
const TELLING_INTERRUPTS: u128 = 10_000;

pub(super) fn look(machine: &Machine) -> Vec<Finding> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let interrupts = machine.text("/proc/interrupts");
    let real = |name: &String| machine.has(format!("/sys/class/net/{name}/device"));
    let up = |name: &String| machine.text(format!("/sys/class/net/{name}/operstate")).as_deref() == Some("up");
    let cards: Vec<String> =
        machine.names("/sys/class/net").into_iter().filter(|name| real(name) && up(name)).collect();
    if cards.is_empty() {
        return vec![Finding::unknown("cards", "no network card is up here")];
    }
    let mut findings = Vec::new();
    for card in cards {
        let queue_names = machine.names(format!("/sys/class/net/{card}/queues"));
        let receive: Vec<&String> = queue_names.iter().filter(|name| name.starts_with("rx-")).collect();
        let steered = receive.iter().any(|queue| {
            let mask = machine.text(format!("/sys/class/net/{card}/queues/{queue}/rps_cpus"));
            mask.is_some_and(|mask| is_steering(&mask))
        });
        findings.push(queues(&card, receive.len(), cores, steered));
        // A virtual card's interrupts go by its device's name.
        let device = machine.resolve(format!("/sys/class/net/{card}/device"));
        let device = device.as_ref().and_then(|path| path.file_name()).and_then(|name| name.to_str()).unwrap_or("");
        let counts = interrupts.as_deref().and_then(|text| interrupts_by_core(text, &card, device));
        findings.push(spread(&card, counts.as_deref(), cores));
    }
    findings
}

fn queues(card: &str, queues: usize, cores: usize, steered: bool) -> Finding {
    let found = format!("{card} has {queues} receive queues for {cores} cores");
    match queues {
        0 => Finding::unknown("queues", format!("{card} tells of no queues")),
        queues if queues >= cores => Finding::ok("queues", found),
        _ if steered => Finding::ok("queues", format!("{found}, and RPS spreads them")),
        _ => Finding::advice(
            "queues",
            found,
            format!(
                "ethtool -L {card} combined {cores}; if the card has no more: echo ff… (all cores) > \
                 /sys/class/net/{card}/queues/rx-0/rps_cpus"
            ),
            "A queue is served by one core; the others' connections wait for it",
        ),
    }
}

fn spread(card: &str, counts: Option<&[u64]>, cores: usize) -> Finding {
    let Some(counts) = counts.filter(|counts| !counts.is_empty()) else {
        return Finding::unknown("interrupts", format!("/proc/interrupts tells nothing of {card}"));
    };
    let total: u128 = counts.iter().copied().map(u128::from).sum();
    let (core, most) = counts.iter().copied().enumerate().max_by_key(|(_, count)| *count).unwrap_or((0, 0));
    if cores < 2 || total < TELLING_INTERRUPTS {
        return Finding::ok("interrupts", format!("{card} had {total}"));
    }
    let percent = u128::from(most) * 100 / total.max(1);
    let found = format!("core {core} took {percent} % of {card}'s {total} interrupts");
    if percent <= CROWDED_PERCENT {
        return Finding::ok("interrupts", found);
    }
    Finding::advice(
        "interrupts",
        found,
        "install irqbalance, or write each queue's core to /proc/irq/NUMBER/smp_affinity_list",
        "One core then works for the card alone, and its shard serves less than the others",
    )
}

/// Sums, core by core, the lines of `/proc/interrupts` that name the card or its device. `None` if none does.
fn interrupts_by_core(text: &str, card: &str, device: &str) -> Option<Vec<u64>> {
    let mut lines = text.lines();
    let cores = lines.next()?.split_whitespace().filter(|word| word.starts_with("CPU")).count();
    let mut sums: Option<Vec<u64>> = None;
    for line in lines {
        let mut words = line.split_whitespace().skip(1);
        let counts: Vec<u64> = words.by_ref().take(cores).map_while(|word| word.parse().ok()).collect();
        let named = |name: &str| {
            // `eth1` is not in `eth10-rx-0`.
            let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
            !name.is_empty() && words.clone().any(|word| word.strip_prefix(name).is_some_and(ends))
        };
        if counts.len() < cores || !(named(card) || named(device)) {
            continue;
        }
        let sums = sums.get_or_insert_with(|| vec![0; cores]);
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum = sum.saturating_add(count);
        }
    }
    sums
}

/// Whether a mask of cores (`00000000,000000ff`) names more than one.
fn is_steering(mask: &str) -> bool {
    let ones: u32 = mask.chars().filter_map(|digit| digit.to_digit(16)).map(u32::count_ones).sum();
    ones > 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Verdict;

    const INTERRUPTS: &str = "           CPU0       CPU1
  1:          9          0   IO-APIC   1-edge      i8042
 24:      90000       5000   PCI-MSI 1-edge      eth1-TxRx-0
 25:       1000       4000   PCI-MSI 2-edge      eth1-TxRx-1
 26:     777777     777777   PCI-MSI 3-edge      eth10-TxRx-0
 27:        500        600   PCI-MSI-0000:00:04.0   1-edge      virtio2-input.0
NMI:          0          0   Non-maskable interrupts
ERR:          0";

    #[test]
    fn interrupts_are_those_of_the_card_and_of_no_other() {
        assert_eq!(interrupts_by_core(INTERRUPTS, "eth1", ""), Some(vec![91_000, 9000]));
        assert_eq!(interrupts_by_core(INTERRUPTS, "ens4", "virtio2"), Some(vec![500, 600]));
        assert_eq!(interrupts_by_core(INTERRUPTS, "wlan0", ""), None);
        for nonsense in ["", "\n", "CPU0\n:\n", "CPU0 CPU1\n 1: 5"] {
            assert_eq!(interrupts_by_core(nonsense, "eth1", "virtio2"), None, "{nonsense:?}");
        }
    }

    #[test]
    fn a_core_that_takes_nearly_all_is_told() {
        let crowded = spread("eth1", Some(&[91_000, 9_000]), 2);
        assert_eq!(crowded.verdict, Verdict::Advice);
        assert_eq!(crowded.found, "core 0 took 91 % of eth1's 100000 interrupts");
        assert_eq!(spread("eth1", Some(&[60_000, 40_000]), 2).verdict, Verdict::Ok);
        assert_eq!(spread("eth1", Some(&[100, 0]), 2).verdict, Verdict::Ok);
        assert_eq!(spread("eth1", Some(&[u64::MAX, u64::MAX]), 2).verdict, Verdict::Ok);
        assert_eq!(spread("eth1", None, 2).verdict, Verdict::Unknown);
    }

    #[test]
    fn few_queues_are_fine_where_the_kernel_spreads_them() {
        assert_eq!(queues("eth0", 1, 8, false).verdict, Verdict::Advice);
        assert_eq!(queues("eth0", 1, 8, true).verdict, Verdict::Ok);
        assert_eq!(queues("eth0", 8, 8, false).verdict, Verdict::Ok);
        assert_eq!(queues("eth0", 0, 8, false).verdict, Verdict::Unknown);
        assert!(is_steering("00000000,000000ff") && !is_steering("00") && !is_steering("01"));
    }

    #[test]
    fn cards_that_are_down_or_not_real_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let net = folder.path().join("sys/class/net");
        for (name, state, device) in [("lo", "unknown", false), ("eth0", "up", true), ("eth1", "down", true)] {
            std::fs::create_dir_all(net.join(name).join("queues/rx-0")).unwrap();
            std::fs::write(net.join(name).join("operstate"), format!("{state}\n")).unwrap();
            if device {
                std::fs::create_dir_all(net.join(name).join("device")).unwrap();
            }
        }
        let findings = look(&Machine::under(folder.path()));
        assert_eq!(findings.len(), 2);
        assert!(findings.iter().all(|finding| finding.found.contains("eth0")), "{findings:?}");
    }
}
