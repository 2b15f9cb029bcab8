//! The pure layers of Gatepost, compiled from their sources without the rest, and the properties that the fuzz targets check
//! on them.

#![allow(dead_code, reason = "the layers are used by more than the targets")]

// The properties and the driver name the gateway; here it is this crate.
extern crate self as gatepost;

#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/domain/mod.rs"]
pub mod domain;
#[path = "../../tests/common/driver.rs"]
mod driver;
pub mod properties;
#[path = "../../src/wire/mod.rs"]
pub mod wire;
