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
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep};

use super::frame::{
    Decoder, Ended, Exec, Exited, Failed, FrameError, Hello, Message, OUTPUT_BYTES_MAX, Signal, ToRunner,
    ToWorker,
};
use super::outbox::Outbox;
use super::process::Process;
use super::relay::Relay;
use super::{Stops, descendants};

/// How long what a command left behind may go on: enough for the end of a pipeline to write its last lines.
const LINGER_MS: u64 = 2_000;
/// Time between two looks for what SIGKILL has not reached yet: forks of the last moment.
const KILL_ROUND_MS: u64 = 20;
/// Looks before giving up, 10 s in all: only the kernel itself holds a process longer (a dead disk).
const KILL_ROUNDS_MAX: u32 = 500;
/// How long a stop waits for a worker that takes nothing before output is thrown away.
const PATIENCE_MS: u64 = 1_000;
/// How many notes of a relay may wait for the loop, which never waits for long. A call makes three at most.
const NOTES_MAX: usize = 16;

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
    /// Between it and its state; lives as long as it does.
    relay: Option<Relay>,
}

enum Event {
    Received(io::Result<usize>),
    Sent(io::Result<usize>),
    Output(io::Result<usize>),
    ChildEnded,
    Stop,
    Note(String),
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
    /// What relays say to people, and the end that they say it to.
    notes: mpsc::Receiver<String>,
    notes_in: mpsc::Sender<String>,
    /// The command's output ends within a line. A note there could part what must be masked as a whole.
    within_line: bool,
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
        let (notes_in, notes) = mpsc::channel(NOTES_MAX);
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
            notes,
            notes_in,
            within_line: false,
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
        let Self { reader, writer, decoder, outbox, buffer, children, stops, alarm, patience, notes, .. } =
            self;
        let (connected, within_line) = (self.farewell.is_none(), self.within_line);
        let reads_output = outbox.wants_output();
        let output =
            self.command.as_ref().filter(|command| reads_output && command.reads()).map(|c| &c.output);
        tokio::select! {
            received = reader.read_buf(decoder.room()), if connected => Event::Received(received),
            sent = send(writer, outbox), if connected => Event::Sent(sent),
            read = read_output(output, buffer) => Event::Output(read),
            _ = children.recv() => Event::ChildEnded,
            () = stops.next() => Event::Stop,
            Some(note) = notes.recv(), if !within_line => Event::Note(note),
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
                if self.farewell.is_none() {
                    self.stop_relay();
                } else {
                    self.leave_relay_alone();
                }
            }
            Event::Note(note) => self.note(&note),
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
            ToRunner::Exec(exec) => self.start(exec),
            ToRunner::Signal { id, signal } if self.is_running(id) => {
                self.outbox.stop();
                self.stop_relay();
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

    fn start(&mut self, mut exec: Exec) {
        if self.command.is_some() {
            let message = "another command is running".to_owned();
            return self.say(&ToWorker::Error(Failed { id: exec.id, code: 1, message }));
        }
        let order = exec.state.take();
        let relay = order.map(|order| Relay::start(order, &exec.env, self.notes_in.clone()));
        if let Some(Ok(relay)) = &relay {
            relay.redirect(&mut exec.env);
        }
        match Process::start(&exec) {
            Ok((process, output)) => {
                self.outbox.begin();
                self.within_line = false;
                self.children_left = true;
                let (relay, missing) = match relay.transpose() {
                    Ok(relay) => (relay, None),
                    Err(error) => (None, Some(error)),
                };
                let phase = Phase::Running;
                self.command = Some(Command { process, output, output_over: false, phase, relay });
                if let Some(error) = missing {
                    tracing::warn!(%error, "there is no relay");
                    self.note(&format!(
                        "There is no relay for the state ({error}): the tool asks Scalr itself."
                    ));
                }
                if self.stop_told {
                    self.stop_relay();
                }
            }
            Err(failed) => self.say(&ToWorker::Error(failed)),
        }
    }

    fn relay(&self) -> Option<&Relay> {
        self.command.as_ref()?.relay.as_ref()
    }

    /// From here on the tool must come to its end soon.
    fn stop_relay(&self) {
        if let Some(relay) = self.relay() {
            relay.stop();
        }
    }

    /// The worker is gone: from here on nobody but Scalr can keep the tool's state.
    fn leave_relay_alone(&self) {
        if let Some(relay) = self.relay() {
            let grace_ms = self.grace_ms.filter(|_| self.stop_told);
            relay
                .is_alone(grace_ms.map_or(self.orphan_wait_ms, |grace_ms| grace_ms.min(self.orphan_wait_ms)));
        }
    }

    fn show_notes(&mut self) {
        while let Ok(note) = self.notes.try_recv() {
            self.note(&note);
        }
    }

    /// Shows a line among the command's output. There is always room: a note is rare.
    fn note(&mut self, note: &str) {
        let Some(command) = &self.command else { return };
        let bytes = format!("{note}\n").into_bytes();
        self.say(&ToWorker::Output { id: command.process.id, bytes });
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
        // What the tool says to an answer comes after what is said of the answer.
        if !self.within_line {
            self.show_notes();
        }
        let Some(command) = &mut self.command else { return };
        match read {
            Ok(bytes @ 1..) => {
                push_output(&mut self.outbox, command.process.id, &self.buffer[..bytes]);
                self.within_line = self.buffer[bytes - 1] != b'\n';
            }
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
        self.leave_relay_alone();
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
                    self.show_notes();
                    let Some(command) = &self.command else { return };
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
