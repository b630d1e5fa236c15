//! Arguments and exit codes; everything else is in the library.

use std::process::ExitCode;

use clap::Parser;
use onefive::cli::{Arguments, Failure};

#[tokio::main]
async fn main() -> ExitCode {
    match onefive::cli::run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("onefive: {failure}");
            match failure {
                // EX_CONFIG of sysexits: starting again without a change is no use.
                Failure::Config(_) => ExitCode::from(78),
                Failure::App(_) | Failure::Refused(_) | Failure::Io(_) => ExitCode::FAILURE,
            }
        }
    }
}
