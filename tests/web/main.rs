//! The gate and the console in a real browser, Chromium: what people do, what hostile pages try, and how it looks.

#[path = "../common/mod.rs"]
mod common;

mod stage;

use stage::play;

#[test]
fn gate() {
    play("gate.js");
}

#[test]
fn console() {
    play("console.js");
}

#[test]
fn attacks() {
    play("attacks.js");
}

#[test]
fn looks() {
    play("looks.js");
}
