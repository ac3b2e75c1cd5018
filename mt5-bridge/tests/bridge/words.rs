//! A server that says the same to everybody, whatever it is asked, and hangs up: also half an answer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub(crate) struct Words {
    pub(crate) address: SocketAddr,
    words: Arc<Mutex<Vec<u8>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Words {
    pub(crate) async fn start(words: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (words, asked) = (Arc::new(Mutex::new(words)), Arc::<Mutex<Vec<String>>>::default());
        let (says, hears) = (words.clone(), asked.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(head) = head(&mut stream).await else { continue };
                hears.lock().expect("no panic").push(head);
                let words = says.lock().expect("no panic").clone();
                let _ = stream.write_all(&words).await;
            }
        });
        Self { address, words, asked }
    }

    /// What it says from now on.
    pub(crate) fn say(&self, words: Vec<u8>) {
        *self.words.lock().expect("no panic") = words;
    }

    /// The first line of each request.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

/// Reads a request that has no body; its first line.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()?.lines().next().map(str::to_owned)
}
