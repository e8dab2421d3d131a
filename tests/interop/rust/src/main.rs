//! The `ohttp` and `bhttp` crates as one client and one server, for privity's interop tests.
//!
//! `privity-interop client URL plain|chunked KEM PIECES`: fetches the key configuration at URL,
//! posts the content read from standard input in PIECES chunks, prints the answer as JSON.
//! `privity-interop server KEM`: prints its URL as JSON, then answers every sealed request with
//! what it read from it. KEM is `x25519` or `xwing`. Only for tests: any failure is a panic.

use std::io::{Cursor, Read, Write};

use bhttp::{Message, Mode, StatusCode};
use futures::executor::block_on;
use futures::io::{AllowStdIo, AsyncReadExt, AsyncWriteExt};
use ohttp::hpke::{Aead, Kdf, Kem};
use ohttp::{ClientRequest, KeyConfig, Server, SymmetricSuite};
use tiny_http::{Header, Method, Request, Response};

const PLAIN: (&str, &str) = ("message/ohttp-req", "message/ohttp-res");
const CHUNKED: (&str, &str) = ("message/ohttp-chunked-req", "message/ohttp-chunked-res");

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["client", url, form, kem, pieces] => {
            client(url, form == "chunked", kem_of(kem), pieces.parse().unwrap());
        }
        ["server", kem] => serve(kem_of(kem)),
        _ => panic!("usage: privity-interop client URL FORM KEM PIECES | server KEM"),
    }
}

fn kem_of(name: &str) -> Kem {
    match name {
        "x25519" => Kem::X25519Sha256,
        "xwing" => Kem::XWing,
        _ => panic!("unknown KEM {name}"),
    }
}

/// Selects the first listed configuration with this KEM.
fn fetch_config(url: &str, kem: Kem) -> KeyConfig {
    let list = ureq::get(url)
        .call()
        .unwrap()
        .body_mut()
        .read_to_vec()
        .unwrap();
    let mut rest = &list[..];
    while !rest.is_empty() {
        let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        let one = &rest[2..2 + length];
        if u16::from_be_bytes([one[1], one[2]]) == u16::from(kem) {
            return KeyConfig::decode(one).unwrap();
        }
        rest = &rest[2 + length..];
    }
    panic!("no configuration with this KEM");
}

fn client(url: &str, chunked: bool, kem: Kem, pieces: usize) {
    let mut content = Vec::new();
    std::io::stdin().read_to_end(&mut content).unwrap();
    let mut message = Message::request(
        b"POST".to_vec(),
        b"https".to_vec(),
        b"interop.example".to_vec(),
        b"/echo?q=1".to_vec(),
    );
    message.put_header("x-interop", "rust");
    message.write_content(&content);
    let request = ClientRequest::from_config(&mut fetch_config(url, kem)).unwrap();
    let answer = if chunked {
        exchange_chunked(url, request, &message, pieces)
    } else {
        exchange_plain(url, request, &message)
    };
    print_message(&answer);
}

fn exchange_plain(url: &str, request: ClientRequest, message: &Message) -> Vec<u8> {
    let mut plaintext = Vec::new();
    message
        .write_bhttp(Mode::KnownLength, &mut plaintext)
        .unwrap();
    let (sealed, opener) = request.encapsulate(&plaintext).unwrap();
    let mut answer = ureq::post(url)
        .header("content-type", PLAIN.0)
        .send(&sealed[..])
        .unwrap();
    assert_eq!(answer.headers()["content-type"], PLAIN.1);
    opener
        .decapsulate(&answer.body_mut().read_to_vec().unwrap())
        .unwrap()
}

/// Streams both ways: each piece is one chunk, sent while the next is not yet sealed.
fn exchange_chunked(
    url: &str,
    request: ClientRequest,
    message: &Message,
    pieces: usize,
) -> Vec<u8> {
    let mut plaintext = Vec::new();
    message
        .write_bhttp(Mode::IndeterminateLength, &mut plaintext)
        .unwrap();
    let (sealed_reader, sealed_writer) = std::io::pipe().unwrap();
    let (answer_reader, mut answer_writer) = std::io::pipe().unwrap();
    let url = url.to_owned();
    let carrier = std::thread::spawn(move || {
        let mut answer = ureq::post(url)
            .header("content-type", CHUNKED.0)
            .send(ureq::SendBody::from_owned_reader(sealed_reader))
            .unwrap();
        assert_eq!(answer.headers()["content-type"], CHUNKED.1);
        std::io::copy(&mut answer.body_mut().as_reader(), &mut answer_writer).unwrap();
    });
    let mut sealer = request
        .encapsulate_stream(AllowStdIo::new(sealed_writer))
        .unwrap();
    for piece in plaintext.chunks(plaintext.len().div_ceil(pieces)) {
        block_on(sealer.write_all(piece)).unwrap();
    }
    block_on(sealer.close()).unwrap();
    let mut opener = sealer.response(AllowStdIo::new(answer_reader)).unwrap();
    drop(sealer); // closes the pipe, which ends the HTTP request
    let mut answer = Vec::new();
    block_on(opener.read_to_end(&mut answer)).unwrap();
    carrier.join().unwrap();
    answer
}

fn print_message(bytes: &[u8]) {
    let message = Message::read_bhttp(&mut Cursor::new(bytes)).unwrap();
    let status = message.control().status().unwrap().code();
    println!(
        "{{\"status\": {status}, \"headers\": {}, \"content\": \"{}\", \"trailers\": {}}}",
        object(message.header().fields()),
        hex(message.content()),
        object(message.trailer().fields()),
    );
}

fn object(fields: &[bhttp::Field]) -> String {
    let entries: Vec<String> = fields
        .iter()
        .map(|field| format!("\"{}\": \"{}\"", text(field.name()), text(field.value())))
        .collect();
    format!("{{{}}}", entries.join(", "))
}

fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn serve(kem: Kem) {
    let suites = vec![
        SymmetricSuite::new(Kdf::HkdfSha256, Aead::Aes128Gcm),
        SymmetricSuite::new(Kdf::HkdfSha256, Aead::ChaCha20Poly1305),
    ];
    let server = Server::new(KeyConfig::new(7, kem, suites).unwrap()).unwrap();
    let http = tiny_http::Server::http("127.0.0.1:0").unwrap();
    println!("{{\"url\": \"http://{}\"}}", http.server_addr());
    std::io::stdout().flush().unwrap();
    for request in http.incoming_requests() {
        answer_request(&server, request);
    }
}

fn answer_request(server: &Server, mut request: Request) {
    if *request.method() == Method::Get {
        let list = KeyConfig::encode_list(&[server.config()]).unwrap();
        respond(request, list, "application/ohttp-keys");
        return;
    }
    let kind = request
        .headers()
        .iter()
        .find(|header| header.field.equiv("content-type"))
        .map_or(String::new(), |header| header.value.to_string());
    if kind == CHUNKED.0 {
        let mut opener = server
            .clone()
            .decapsulate_stream(AllowStdIo::new(request.as_reader()));
        let mut plaintext = Vec::new();
        block_on(opener.read_to_end(&mut plaintext)).unwrap();
        let mut sealed = Vec::new();
        let mut sealer = opener.response(AllowStdIo::new(&mut sealed)).unwrap();
        for piece in echo(&plaintext, Mode::IndeterminateLength).chunks(1000) {
            block_on(sealer.write_all(piece)).unwrap();
        }
        block_on(sealer.close()).unwrap();
        drop(sealer);
        drop(opener);
        respond(request, sealed, CHUNKED.1);
    } else {
        let mut sealed = Vec::new();
        request.as_reader().read_to_end(&mut sealed).unwrap();
        let (plaintext, sealer) = server.decapsulate(&sealed).unwrap();
        let answer = echo(&plaintext, Mode::KnownLength);
        respond(request, sealer.encapsulate(&answer).unwrap(), PLAIN.1);
    }
}

/// Returns what was asked, so that the client can see that it arrived as it was sent.
fn echo(plaintext: &[u8], mode: Mode) -> Vec<u8> {
    let request = Message::read_bhttp(&mut Cursor::new(plaintext)).unwrap();
    let control = request.control();
    let mut answer = Message::response(StatusCode::try_from(201_u16).unwrap());
    answer.put_header("x-method", control.method().unwrap());
    answer.put_header("x-authority", control.authority().unwrap());
    answer.put_header("x-path", control.path().unwrap());
    if let Some(value) = request.header().get(b"x-interop") {
        answer.put_header("x-interop", value);
    }
    answer.write_content(request.content());
    answer.put_trailer("x-length", request.content().len().to_string());
    let mut bytes = Vec::new();
    answer.write_bhttp(mode, &mut bytes).unwrap();
    bytes
}

fn respond(request: Request, body: Vec<u8>, kind: &str) {
    let header = Header::from_bytes("content-type", kind).unwrap();
    // A client that hangs up is a test of its own; the server goes on.
    let _ = request.respond(Response::from_data(body).with_header(header));
}
