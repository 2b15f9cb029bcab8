//! temp
use std::borrow::Cow;
use thiserror::Error;
#[derive(Debug, Error)] #[error("bad path")] pub struct PathError;
pub fn normalize(raw: &[u8]) -> Result<Cow<'_, str>, PathError> { String::from_utf8(raw.to_vec()).map(Cow::Owned).map_err(|_| PathError) }
#[derive(Debug)] pub struct RoutePattern(String);
#[derive(Debug, Error)] #[error("x")] pub struct PatternError;
impl RoutePattern { pub fn parse(s:&str)->Result<Self,PatternError>{Ok(RoutePattern(s.into()))} pub fn matches(&self,p:&str)->bool{ self.0.strip_suffix('*').map_or(self.0==p, |x| p.starts_with(x)) } }
