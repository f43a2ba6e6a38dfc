//! One worker's visit: frames in, output out, at most one command at a time.
//!
//! One loop owns everything; each turn takes one event and then moves the command on. A slow worker slows the
//! command, a stopping command is never slowed, and no end is told before all that began below it is gone.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf, pipe};
use tokio::signal::unix::Signal as Watch;
use tokio::time::{Sleep, sleep};

use super::frame::{
    Decoder, Ended, Exec, Exited, Failed, FrameError, Hello, Message, OUTPUT_BYTES_MAX, Signal, ToRunner,
    ToWorker,
};
use super::outbox::Outbox;
use super::process::Process;
use super::{Stops, descendants};

/// How long what a command left behind may go on: enough for the end of a pipeline to write its last lines.
const LINGER_MS: u64 = 2_000;
/// Time between two looks for what SIGKILL has not reached yet: forks of the last moment.
const KILL_ROUND_MS: u64 = 20;
/// Looks before giving up, 10 s in all: only the kernel itself holds a process longer (a dead disk).
const KILL_ROUNDS_MAX: u32 = 500;
/// How long a stop waits for a worker that takes nothing before output is thrown away.
const PATIENCE_MS: u64 = 1_000;

/// How the visit ended.
#[derive(Debug)]
pub(super) enum Farewell {
    /// The worker left with nothing running.
    Idle,
    /// The worker left or was lost with a command running, which was then interrupted, waited for and ended.
    InMidCommand,
    /// The worker broke the protocol; a running command was ended as after a loss.
    Nonsense(FrameError),
}

/// How far the command has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its leader runs.
    Running,
    /// Its leader has ended, descendants have not.
    Lingering,
    /// Everything below us is being killed.
    Killing { rounds: u32 },
    /// Nothing that could write is left; what the pipe holds is still to be read.
    Emptying { survivors: bool },
}

#[derive(Debug)]
struct Command {
    process: Process,
    output: pipe::Receiver,
    /// All ends that write were closed.
    output_over: bool,
    phase: Phase,
}

enum Event {
    Received(io::Result<usize>),
    Sent(io::Result<usize>),
    Output(io::Result<usize>),
    ChildEnded,
    Stop,
    Alarm,
    PatienceOver,
}

/// A worker's connection and what it has asked for.
#[derive(Debug)]
pub(super) struct Session {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    decoder: Decoder,
    outbox: Outbox,
    buffer: Vec<u8>,
    children: Watch,
    stops: Stops,
    orphan_wait_ms: u64,
    grace_ms: Option<u64>,
    command: Option<Command>,
    /// Children were left when last looked.
    children_left: bool,
    /// Of the command's phase.
    alarm: Alarm,
    patience: Alarm,
    stop_told: bool,
    farewell: Option<Farewell>,
}

impl Session {
    pub(super) fn new(
        stream: UnixStream,
        children: Watch,
        stops: Stops,
        orphan_wait_ms: u64,
        grace_ms: Option<u64>,
    ) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            reader,
            writer,
            decoder: Decoder::default(),
            outbox: Outbox::default(),
            buffer: vec![0; OUTPUT_BYTES_MAX],
            children,
            stops,
            orphan_wait_ms,
            grace_ms,
            command: None,
            children_left: false,
            alarm: Alarm::default(),
            patience: Alarm::default(),
            stop_told: false,
            farewell: None,
        }
    }

    /// Says hello, and then does as it is told until the worker is gone and nothing runs.
    pub(super) async fn serve(mut self, hello: Hello) -> Farewell {
        self.say(&ToWorker::Hello(hello));
        loop {
            let event = self.next().await;
            self.take(event);
            self.advance();
            if self.outbox.is_holding_up_a_stop() {
                self.patience.set_once(PATIENCE_MS);
            } else {
                self.patience.clear();
            }
            if self.command.is_none()
                && let Some(farewell) = self.farewell.take()
            {
                return farewell;
            }
        }
    }

    async fn next(&mut self) -> Event {
        let Self { reader, writer, decoder, outbox, buffer, children, stops, alarm, patience, .. } = self;
        let connected = self.farewell.is_none();
        let reads_output = outbox.wants_output();
        let output =
            self.command.as_ref().filter(|command| reads_output && command.reads()).map(|c| &c.output);
        tokio::select! {
            received = reader.read_buf(decoder.room()), if connected => Event::Received(received),
            sent = send(writer, outbox), if connected => Event::Sent(sent),
            read = read_output(output, buffer) => Event::Output(read),
            _ = children.recv() => Event::ChildEnded,
            () = stops.next() => Event::Stop,
            () = alarm.ring() => Event::Alarm,
            () = patience.ring() => Event::PatienceOver,
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Received(Ok(1..)) => self.read_frames(),
            Event::Received(Ok(0) | Err(_)) | Event::Sent(Err(_)) => self.part(Farewell::Idle),
            Event::Sent(Ok(bytes)) => {
                self.outbox.sent(bytes);
                self.patience.clear();
            }
            Event::Output(read) => self.take_output(read),
            Event::ChildEnded => {
                let command = &mut self.command;
                self.children_left = descendants::reap(|pid, status| {
                    if let Some(command) = command {
                        command.process.note_end(pid, status);
                    }
                });
            }
            Event::Stop if self.stop_told => {}
            Event::Stop => {
                self.stop_told = true;
                self.say(&ToWorker::Stopping { grace_ms: self.grace_ms });
            }
            Event::Alarm => self.begin_or_repeat_kill(),
            Event::PatienceOver => self.outbox.lose_patience(),
        }
    }

    fn read_frames(&mut self) {
        while self.farewell.is_none() {
            match self.decoder.take() {
                Ok(Some(message)) => self.obey(message),
                Ok(None) => return,
                Err(error) => self.part(Farewell::Nonsense(error)),
            }
        }
    }

    fn obey(&mut self, message: ToRunner) {
        match message {
            ToRunner::Exec(exec) => self.start(&exec),
            ToRunner::Signal { id, signal } if self.is_running(id) => {
                self.outbox.stop();
                match signal {
                    Signal::Interrupt | Signal::Terminate => self.signal(signal),
                    Signal::Kill => self.begin_or_repeat_kill(),
                }
            }
            ToRunner::Drain { id } if self.is_running(id) => self.outbox.stop(),
            // It ended while the worker said so.
            ToRunner::Signal { .. } | ToRunner::Drain { .. } => {}
            ToRunner::Bye => self.part(Farewell::Idle),
        }
    }

    fn start(&mut self, exec: &Exec) {
        if self.command.is_some() {
            let message = "another command is running".to_owned();
            return self.say(&ToWorker::Error(Failed { id: exec.id, code: 1, message }));
        }
        match Process::start(exec) {
            Ok((process, output)) => {
                self.outbox.begin();
                self.children_left = true;
                self.command = Some(Command { process, output, output_over: false, phase: Phase::Running });
            }
            Err(failed) => self.say(&ToWorker::Error(failed)),
        }
    }

    fn is_running(&self, id: u64) -> bool {
        self.command.as_ref().is_some_and(|command| command.process.id == id)
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(command) = &mut self.command {
            command.process.signal(signal);
        }
    }

    fn take_output(&mut self, read: io::Result<usize>) {
        let Some(command) = &mut self.command else { return };
        match read {
            Ok(bytes @ 1..) => push_output(&mut self.outbox, command.process.id, &self.buffer[..bytes]),
            Ok(0) => command.output_over = true,
            Err(error) => {
                tracing::warn!(%error, "failed to read a command's output");
                command.output_over = true;
            }
        }
    }

    /// The worker is gone: a running command gets one interrupt, time, and then an end.
    fn part(&mut self, farewell: Farewell) {
        self.outbox.close();
        let Some(command) = &mut self.command else {
            self.farewell = Some(farewell);
            return;
        };
        self.farewell = Some(match farewell {
            Farewell::Idle | Farewell::InMidCommand => Farewell::InMidCommand,
            Farewell::Nonsense(error) => Farewell::Nonsense(error),
        });
        command.process.signal(Signal::Interrupt);
        if command.phase == Phase::Running {
            self.alarm.set(self.orphan_wait_ms);
        }
    }

    fn begin_or_repeat_kill(&mut self) {
        let Some(command) = &mut self.command else { return };
        let rounds = match command.phase {
            Phase::Killing { rounds } => rounds + 1,
            Phase::Running | Phase::Lingering => 1,
            Phase::Emptying { .. } => return,
        };
        if rounds > KILL_ROUNDS_MAX {
            tracing::error!(command = command.process.id, "descendants outlive SIGKILL");
            command.phase = Phase::Emptying { survivors: true };
        } else {
            descendants::kill_all();
            command.phase = Phase::Killing { rounds };
            self.alarm.set(KILL_ROUND_MS);
        }
    }

    /// Moves the command on as far as it goes.
    fn advance(&mut self) {
        let Some(command) = &mut self.command else { return };
        let ended = command.process.ended().is_some();
        match command.phase {
            Phase::Running | Phase::Lingering | Phase::Killing { .. } if ended && !self.children_left => {
                self.alarm.clear();
                command.phase = Phase::Emptying { survivors: false };
            }
            Phase::Running if ended => {
                command.phase = Phase::Lingering;
                self.alarm.set(LINGER_MS);
            }
            Phase::Running | Phase::Lingering | Phase::Killing { .. } | Phase::Emptying { .. } => {}
        }
        if let Phase::Emptying { survivors } = command.phase {
            self.empty(survivors);
        }
    }

    /// Reads what is left in the pipe as far as the worker takes it, and then tells the end. Asks the kernel
    /// directly: the runtime only knows what it was last told, and would call a full pipe empty.
    fn empty(&mut self, survivors: bool) {
        let Some(command) = &self.command else { return };
        let id = command.process.id;
        while self.outbox.wants_output() {
            match rustix::io::read(&command.output, &mut self.buffer) {
                Ok(bytes @ 1..) => push_output(&mut self.outbox, id, &self.buffer[..bytes]),
                Err(Errno::INTR) => {}
                // Empty with no writer left, or empty while a survivor keeps it open.
                Ok(0) | Err(_) => {
                    let exited = Exited {
                        id,
                        ended: command.process.ended().unwrap_or(Ended::Signal(9)),
                        oom_kills: command.process.oom_kills(),
                        dropped_bytes: self.outbox.dropped_bytes(),
                        survivors,
                    };
                    self.command = None;
                    return self.say(&ToWorker::Exited(exited));
                }
            }
        }
    }

    fn say(&mut self, message: &ToWorker) {
        match message.frame() {
            Ok(frame) => self.outbox.push(frame),
            Err(error) => tracing::error!(%error, "failed to tell the worker"),
        }
    }
}

impl Command {
    /// Whether its output is read as it comes. When all is over, [`Session::empty`] reads the rest.
    fn reads(&self) -> bool {
        !self.output_over && !matches!(self.phase, Phase::Emptying { .. })
    }
}

fn push_output(outbox: &mut Outbox, id: u64, bytes: &[u8]) {
    match (ToWorker::Output { id, bytes: bytes.to_vec() }).frame() {
        Ok(frame) => outbox.push_output(frame, bytes.len()),
        Err(_) => unreachable!("a read is no longer than a frame's bound"),
    }
}

/// Sends some of what waits; never ready when nothing does.
async fn send(writer: &mut OwnedWriteHalf, outbox: &Outbox) -> io::Result<usize> {
    match outbox.next() {
        Some(bytes) => writer.write(bytes).await,
        None => std::future::pending().await,
    }
}

/// Reads some output; never ready without a pipe.
async fn read_output(output: Option<&pipe::Receiver>, buffer: &mut [u8]) -> io::Result<usize> {
    let Some(output) = output else { return std::future::pending().await };
    loop {
        output.readable().await?;
        match output.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

/// A time that may be set, to be waited for among other things.
#[derive(Debug, Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    fn set(&mut self, wait_ms: u64) {
        self.0 = Some(Box::pin(sleep(Duration::from_millis(wait_ms))));
    }

    /// Sets it unless it is set.
    fn set_once(&mut self, wait_ms: u64) {
        if self.0.is_none() {
            self.set(wait_ms);
        }
    }

    fn clear(&mut self) {
        self.0 = None;
    }

    /// Never ready when not set. May be dropped and asked again.
    async fn ring(&mut self) {
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().await,
            None => std::future::pending().await,
        }
        self.0 = None;
    }
}
