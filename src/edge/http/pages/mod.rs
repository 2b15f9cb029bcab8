//! Gatepost's own pages, which the gate and the console share: views and their templates, the stylesheet and the script.

pub mod views;
