//! `spillway doctor`: looks the machine over and says what to change and why. Each probe reads something and gives it to a function of
//! the text alone, which is what the tests test.

mod cards;
mod clock;
mod disks;
mod finding;
mod kernel;
mod machine;
mod network;
mod reach;
mod trees;

use std::io::{self, IsTerminal};

use hash::InfoHash;
use settings::Settings;

use crate::config::{self, ConfigFile};
use crate::failure::Failure;
use crate::output;
use finding::{Finding, Verdict};
use machine::Machine;

/// Look this machine over: kernel, limits, network, disks, clock, and whether peers can connect. Exit code 1 if something has
/// to be changed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    file: ConfigFile,

    /// A process whose limits are looked at, such as the running service's [default: a shell's, which are this one's]
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,

    /// A torrent whose handshake is waited for at each address [default: one that the running service serves]
    #[arg(long, value_name = "HEX", value_parser = reach::parse_info_hash)]
    info_hash: Option<InfoHash>,

    /// Write JSON: a list of what was found, with `check`, `verdict`, `found`, `change` and `why`
    #[arg(long)]
    json: bool,
}

/// Looks at everything, even where something is wrong.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut findings = Vec::new();
    let settings = settings(&args.file, &mut findings);
    examine(args, &settings, &mut findings);
    if args.json {
        output::json(&findings)?;
    } else {
        let lines: Vec<String> =
            findings.iter().flat_map(|finding| finding.lines(io::stdout().is_terminal())).collect();
        output::styled_lines(&lines)?;
    }
    match findings.iter().filter(|finding| finding.verdict == Verdict::Problem).count() {
        0 => Ok(()),
        1 => Err(Failure::new("there is a problem; what to change stands above")),
        count => Err(Failure::new(format!("there are {count} problems; what to change stands above"))),
    }
}

/// The file's settings, or the defaults where there is none or it is wrong, which is a finding.
fn settings(file: &ConfigFile, findings: &mut Vec<Finding>) -> Settings {
    let is_default = file.config.as_os_str() == config::DEFAULT_PATH;
    if is_default && !file.config.exists() {
        let found = format!("there is no {}; the defaults are taken", config::DEFAULT_PATH);
        findings.push(Finding::unknown("settings", found));
        return Settings::default();
    }
    match file.read() {
        Ok(settings) => {
            findings.push(Finding::ok("settings", file.config.display()));
            settings
        }
        Err(failure) => {
            let problems: Vec<&str> = failure.message().lines().collect();
            let found = format!("{}; the defaults are taken", problems.join("; "));
            let why = "The service does not start with settings that cannot be.";
            findings.push(Finding::problem("settings", found, format!("edit {}", file.config.display()), why));
            Settings::default()
        }
    }
}

fn examine(args: &Args, settings: &Settings, findings: &mut Vec<Finding>) {
    let machine = &Machine::this(args.pid);
    findings.extend(kernel::look(machine, settings));
    findings.extend(network::look(machine));
    findings.extend(cards::look(machine));
    findings.push(clock::look());
    findings.extend(trees::Trees::measure(settings).look(machine));
    findings.extend(disks::look(machine, settings));
    findings.extend(reach::look(settings, args.info_hash));
}
