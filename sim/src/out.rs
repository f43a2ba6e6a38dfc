//! What goes to the terminal, or to whoever reads it there.
//!
//! A reader who has seen enough, such as `head`, is no error: the rest is not printed. It must never panic.

use std::{
    fmt,
    io::{self, BufWriter, ErrorKind, StdoutLock, Write},
};

/// Standard output.
pub(crate) struct Out {
    to: BufWriter<StdoutLock<'static>>,
    failed: Option<io::Error>,
}

impl Out {
    pub(crate) fn new() -> Self {
        Self { to: BufWriter::new(io::stdout().lock()), failed: None }
    }

    /// Prints something as it is.
    pub(crate) fn print(&mut self, what: fmt::Arguments<'_>) {
        if self.failed.is_none() {
            self.failed = self.to.write_fmt(what).err();
        }
    }

    /// Prints what is left. An error is one that somebody should know of.
    pub(crate) fn end(mut self) -> io::Result<()> {
        let failed = self.failed.take().or_else(|| self.to.flush().err());
        match failed {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
            Some(_) | None => Ok(()),
        }
    }
}

/// Prints a line.
macro_rules! say {
    ($out:expr) => { $out.print(format_args!("\n")) };
    ($out:expr, $($what:tt)*) => { $out.print(format_args!("{}\n", format_args!($($what)*))) };
}
pub(crate) use say;

/// Says something on standard error, if anybody listens there: the exit code says it too.
macro_rules! complain {
    ($($what:tt)*) => {{
        let _said = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("{}\n", format_args!($($what)*)),
        );
    }};
}
pub(crate) use complain;
