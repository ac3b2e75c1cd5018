//! A sender's own log: a line before each post, and a line with its answer.
//!
//! Invariant: a line is with the system before what it announces is done, so that a sender that is killed leaves a post
//! without an answer, never an answer without its post or a post that nobody knows of.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

/// A line. Tagged from outside: numbers of arbitrary precision do not survive another form.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Sent {
        post: u64,
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
        key: Option<String>,
        body: Value,
    },
    Answered {
        post: u64,
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
        /// None: nothing came in time, or the connection broke.
        status: Option<u16>,
        signal_id: Option<Uuid>,
    },
}

/// One POST of a signal, as its sender knows it.
#[derive(Clone, Debug)]
pub struct Post {
    /// Log and number.
    pub name: String,
    /// When it was about to be sent.
    pub sent_at: OffsetDateTime,
    /// Its idempotency key.
    pub key: Option<String>,
    /// What was sent.
    pub body: Value,
    /// None: the sender was killed before, or waits no more.
    pub answer: Option<Answer>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// When.
    pub at: OffsetDateTime,
    /// The HTTP status; none without an answer.
    pub status: Option<u16>,
    /// The id that was given.
    pub signal_id: Option<Uuid>,
}

/// What a post came to, as far as its sender can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Accepted,
    Refused,
    /// Perhaps it was taken, perhaps not.
    Unknown,
}

impl Post {
    pub(super) fn told(&self) -> Told {
        match self.answer.as_ref().and_then(|answer| answer.status) {
            Some(200..300) => Told::Accepted,
            // A server that gave up waiting (408) may have done it all the same.
            Some(408) => Told::Unknown,
            Some(400..500) => Told::Refused,
            _ => Told::Unknown,
        }
    }

    /// The id it was accepted under.
    pub(super) fn accepted(&self) -> Option<Uuid> {
        self.answer.as_ref().filter(|_| self.told() == Told::Accepted)?.signal_id
    }
}

/// Writes a log; shared by the tasks of one sender.
#[derive(Debug)]
pub struct Recorder {
    file: File,
    next: AtomicU64,
}

impl Recorder {
    /// A new log; one that is there already is another sender's.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        Ok(Self { file, next: AtomicU64::new(1) })
    }

    /// Before a post is sent; its number.
    pub fn sent(&self, at: OffsetDateTime, key: Option<&str>, body: &Value) -> io::Result<u64> {
        let post = self.next.fetch_add(1, Ordering::Relaxed);
        self.write(&Line::Sent { post, at, key: key.map(str::to_owned), body: body.clone() })?;
        Ok(post)
    }

    /// After its answer, or once there will be none.
    pub fn answered(
        &self,
        post: u64,
        at: OffsetDateTime,
        status: Option<u16>,
        signal_id: Option<Uuid>,
    ) -> io::Result<()> {
        self.write(&Line::Answered { post, at, status, signal_id })
    }

    /// In one call: appended lines of several tasks do not mix.
    fn write(&self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        (&self.file).write_all(&text)
    }
}

/// Reads a log; a torn last line was not sent yet.
pub fn read(path: &Path) -> io::Result<Vec<Post>> {
    let text = std::fs::read_to_string(path)?;
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut posts: Vec<Post> = Vec::new();
    let mut places = HashMap::new();
    let wrong = |number: usize, what: String| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}:{}: {what}", path.display(), number + 1))
    };
    for (number, line) in complete.lines().enumerate() {
        match serde_json::from_str(line).map_err(|error| wrong(number, error.to_string()))? {
            Line::Sent { post, at, key, body } => {
                places.insert(post, posts.len());
                posts.push(Post { name: format!("{name}#{post}"), sent_at: at, key, body, answer: None });
            }
            Line::Answered { post, at, status, signal_id } => {
                let place = places.get(&post).ok_or_else(|| wrong(number, format!("post {post} was never sent")))?;
                posts[*place].answer = Some(Answer { at, status, signal_id });
            }
        }
    }
    Ok(posts)
}
