//! temp
use crate::domain::Credential;
use super::Format;
pub fn refusal_body(_f: Format, r: &str) -> Vec<u8> { format!("{{\"message\":\"error\",\"errors\":[\"{r}\"]}}").into_bytes() }
pub fn error(_f: Format, r: &str) -> Vec<u8> { format!("{{\"error\":\"{r}\"}}").into_bytes() }
pub fn success(_f: Format, _n: u64) -> Vec<u8> { b"{\"message\":\"success\"}".to_vec() }
pub fn single(_f: Format, c: &Credential) -> Vec<u8> { format!("{:?}", c.name).into_bytes() }
pub struct List;
impl List { pub fn new(_f: Format) -> List { List } pub fn begin(&mut self)->Vec<u8>{vec![]} pub fn item(&mut self, c:&Credential, o:&mut Vec<u8>){o.extend(c.name.as_str().as_bytes())} pub fn end(&mut self,_o:&mut Vec<u8>){} }
