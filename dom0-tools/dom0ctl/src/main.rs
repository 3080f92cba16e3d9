//! The program `dom0ctl`: the library on this process' own streams.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Raw mode is the terminal's, not the process': it would outlive a process that a signal ends.
    let handler = ctrlc::set_handler(|| {
        dom0ctl::command::console::restore_terminal();
        std::process::exit(130);
    });
    if let Err(error) = handler {
        eprintln!("dom0ctl: signals keep their defaults: {error}");
    }
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        dom0ctl::command::console::restore_terminal();
        print(panic);
    }));
    ExitCode::from(dom0ctl::run(std::env::args_os()))
}
