//! As much of a VNC client as it takes to log in and to look at the screen.

use des::Des;
use des::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const VNC_AUTHENTICATION: u8 = 2;

/// The screen's pixels, each `0x00RRGGBB`; an error says that the password was refused.
pub(crate) async fn screen(port: u16, password: &str) -> std::io::Result<Vec<u32>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    log_in(&mut stream, password).await?;
    // Shared with others.
    stream.write_all(&[1]).await?;
    let mut init = [0; 24];
    stream.read_exact(&mut init).await?;
    let size = [init[0], init[1], init[2], init[3]];
    let mut name =
        vec![0; usize::try_from(u32::from_be_bytes([init[20], init[21], init[22], init[23]])).expect("fits")];
    stream.read_exact(&mut name).await?;
    // 32 bits, little endian, true colour, red at bit 16; raw encoding only; the whole screen.
    stream.write_all(&[0, 0, 0, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]).await?;
    stream.write_all(&[2, 0, 0, 1, 0, 0, 0, 0]).await?;
    stream.write_all(&[3, 0, 0, 0, 0, 0, size[0], size[1], size[2], size[3]]).await?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    assert_eq!(head[0], 0, "an update of the screen");
    let mut pixels = Vec::new();
    for _ in 0..u16::from_be_bytes([head[2], head[3]]) {
        let mut rectangle = [0; 12];
        stream.read_exact(&mut rectangle).await?;
        let side = |at: usize| usize::from(u16::from_be_bytes([rectangle[at], rectangle[at + 1]]));
        let mut raw = vec![0; side(4) * side(6) * 4];
        stream.read_exact(&mut raw).await?;
        pixels.extend(raw.chunks_exact(4).map(|pixel| u32::from_le_bytes([pixel[0], pixel[1], pixel[2], 0])));
    }
    Ok(pixels)
}

async fn log_in(stream: &mut TcpStream, password: &str) -> std::io::Result<()> {
    let mut version = [0; 12];
    stream.read_exact(&mut version).await?;
    stream.write_all(b"RFB 003.008\n").await?;
    let mut ways = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut ways).await?;
    assert_eq!(ways, [VNC_AUTHENTICATION], "the one way in is the password");
    stream.write_all(&[VNC_AUTHENTICATION]).await?;
    let mut challenge = [0; 16];
    stream.read_exact(&mut challenge).await?;
    // VNC turns the bits of each byte of a key around.
    let mut key = [0; 8];
    for (to, from) in key.iter_mut().zip(password.bytes()) {
        *to = from.reverse_bits();
    }
    let cipher = Des::new(&key.into());
    for block in challenge.as_chunks_mut::<8>().0 {
        cipher.encrypt_block(block.into());
    }
    stream.write_all(&challenge).await?;
    match stream.read_u32().await? {
        0 => Ok(()),
        _ => Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, "the password was refused")),
    }
}
