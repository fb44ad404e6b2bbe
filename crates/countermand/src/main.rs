//! `countermand`: see `countermand --help`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    countermand::main()
}
