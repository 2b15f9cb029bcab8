//! The fields of a header: its text, and where each name and value stands in it.

use super::field_kind::FieldKind;

/// The most fields of a header.
pub const FIELD_COUNT: usize = 256;

/// A field of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderField<'a> {
    /// The meaning of its name.
    pub kind: FieldKind,
    /// The name, in the case in which it came.
    pub name: &'a [u8],
    /// The value, without the blanks around it.
    pub value: &'a [u8],
    /// The same as one text, name, colon and value, if it came so.
    pub line: Option<&'a [u8]>,
}

/// The fields of a header, in their order. The memory is used again for the next header.
#[derive(Clone, Debug, Default)]
pub struct HeaderFields {
    /// The text that the spans lie in.
    text: Vec<u8>,
    spans: Vec<FieldSpan>,
    /// The kinds that are present.
    kinds: u32,
}

/// The place of a field in the text of its header.
#[derive(Clone, Copy, Debug)]
struct FieldSpan {
    kind: FieldKind,
    name: Span,
    value: Span,
}

/// A part of the text of a header.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// The part from `start` to before `end`. No header is larger than 4 GiB.
    pub(super) fn new(start: usize, end: usize) -> Span {
        Span { start: start as u32, end: end as u32 }
    }
}

impl HeaderFields {
    /// Forgets all fields, and takes over a text for others.
    pub(super) fn restart(&mut self, text: &[u8]) {
        self.clear();
        self.set_text(text);
    }

    /// Forgets all fields before others are added whose text follows, by [`HeaderFields::set_text`].
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.spans.clear();
        self.kinds = 0;
    }

    /// Sets the text of the fields that were added.
    pub(super) fn set_text(&mut self, text: &[u8]) {
        self.text.clear();
        self.text.extend_from_slice(text);
    }

    /// Makes room for so many fields with so many bytes.
    pub(super) fn reserve(&mut self, fields: usize, bytes: usize) {
        self.spans.reserve(fields);
        self.text.reserve(bytes);
    }

    /// Appends text that is no part of the header as it came.
    pub(super) fn append_text(&mut self, text: &[u8]) -> Span {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(text);
        Span { start, end: self.text.len() as u32 }
    }

    /// The span of `part`, which is a part of `whole`. The text begins with `whole`.
    pub(super) fn span_of(whole: &[u8], part: &[u8]) -> Span {
        // Both are slices of one allocation; an empty part may be a constant from elsewhere.
        let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        match start.checked_add(part.len()).filter(|end| *end <= whole.len()) {
            Some(end) => Span { start: start as u32, end: end as u32 },
            None => Span::default(),
        }
    }

    /// The text of a span.
    pub(super) fn text_of(&self, span: Span) -> &[u8] {
        self.text.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// The text of a field from its name to the end of its value. `None` for one that has to be put together.
    fn line_of(&self, field: &FieldSpan) -> Option<&[u8]> {
        let (name, value) = (field.name, field.value);
        let is_one = value.start > name.end && self.text.get(name.end as usize) == Some(&b':');
        let is_short = value.start <= name.end + 2;
        (is_one && is_short).then(|| self.text_of(Span { start: name.start, end: value.end }))
    }

    /// Adds a field whose parts are in the text.
    pub(super) fn add(&mut self, name: Span, value: Span) {
        self.add_as(FieldKind::of(self.text_of(name)), name, value);
    }

    /// Adds a field of a known kind.
    pub(super) fn add_as(&mut self, kind: FieldKind, name: Span, value: Span) {
        self.kinds |= kind.bit();
        self.spans.push(FieldSpan { kind, name, value });
    }

    /// Appends a field that isn't in the text.
    pub fn append(&mut self, name: &[u8], value: &[u8]) {
        let name = self.append_text(name);
        let value = self.append_text(value);
        self.add(name, value);
    }

    /// Returns true if the memory has grown above so many bytes.
    pub(super) fn is_larger_than(&self, bytes: usize) -> bool {
        self.text.capacity() > bytes || self.spans.capacity() * size_of::<FieldSpan>() > bytes
    }

    /// The number of fields.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Returns true if there is no field.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The bytes of the header that the fields are in.
    pub fn text_len(&self) -> usize {
        self.text.len()
    }

    /// All fields in their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = HeaderField<'_>> + Clone {
        self.spans.iter().map(|span| HeaderField {
            kind: span.kind,
            name: self.text_of(span.name),
            value: self.text_of(span.value),
            line: self.line_of(span),
        })
    }

    /// Returns true if there is a field of that kind.
    pub fn contains(&self, kind: FieldKind) -> bool {
        self.kinds & kind.bit() != 0
    }

    /// The values of all fields of one kind.
    pub fn all(&self, kind: FieldKind) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
        let spans = if self.contains(kind) { &self.spans[..] } else { &[] };
        spans.iter().filter(move |span| span.kind == kind).map(|span| self.text_of(span.value))
    }

    /// The value of the first field of one kind.
    pub fn get(&self, kind: FieldKind) -> Option<&[u8]> {
        self.all(kind).next()
    }

    /// The values of all fields with that name, in upper or lower case, for names without a kind of their own.
    pub fn named<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a [u8]> + Clone {
        let has_name = |span: &&FieldSpan| self.text_of(span.name).eq_ignore_ascii_case(name.as_bytes());
        self.spans.iter().filter(has_name).map(|span| self.text_of(span.value))
    }

    /// The elements of all fields of one kind whose values are lists (RFC 9110 section 5.6.1). Empty elements are left out.
    pub fn elements(&self, kind: FieldKind) -> impl Iterator<Item = &[u8]> + Clone {
        let elements = self.all(kind).flat_map(|line| line.split(|b| *b == b',')).map(<[u8]>::trim_ascii);
        elements.filter(|element| !element.is_empty())
    }

    /// Returns true if a list of that kind has an element, in upper or lower case.
    pub fn has_element(&self, kind: FieldKind, element: &str) -> bool {
        self.contains(kind) && self.elements(kind).any(|one| one.eq_ignore_ascii_case(element.as_bytes()))
    }
}
