//! Man pages and shell completions, made from the command line's own types, for whoever makes a package.

use std::io;
use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::Cli;
use crate::failure::Failure;

/// Write the man pages of all verbs.
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// The folder to write them to
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

/// Write a shell's completions to standard output.
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    shell: Shell,
}

/// One page a verb, `spillway-VERB.1`.
pub(crate) fn man(args: &ManArgs) -> Result<(), Failure> {
    std::fs::create_dir_all(&args.output)?;
    clap_mangen::generate_to(Cli::command(), &args.output)
        .map_err(|error| Failure::from(error).context(args.output.display()))
}

/// For bash, zsh, fish and others.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, name, &mut io::stdout());
    Ok(())
}
