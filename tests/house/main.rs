//! The sources, the documents and the pure layers: rules of the house, and properties of what does no input or output.

#[path = "../common/mod.rs"]
mod common;

mod config;
mod documentation;
mod forms;
mod heads;
mod language;
mod layers;
mod permissions;
mod seeds;
