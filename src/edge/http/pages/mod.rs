//! Gatepost's own pages, which the gate and the console share: views and their templates, their files, their responses, and the
//! origin that browsers see.

pub mod files;
pub mod origin;
pub mod presented_session;
pub mod response;
pub mod site;
pub mod views;
