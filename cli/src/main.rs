fn main() -> std::process::ExitCode {
    twinfold_cli::main()
}
