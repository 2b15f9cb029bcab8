#![no_main]

use gatepost_fuzz::domain::{Permission, PermissionEdit, Permissions};
use gatepost_fuzz::wire::Parameters;

// What is read is what a JSON value of the text says.
libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut parameters = Parameters::new();
    if parameters.add_query(text.as_bytes()).is_ok() {
        let _ = parameters.permissions();
    }
    let Ok(edit) = PermissionEdit::from_json(text) else { return };
    let value: serde_json::Value = serde_json::from_str(text).expect("it was read");
    let object = value.as_object().expect("nothing else is read");
    assert_eq!(object.len(), edit.named().iter().count());
    for permission in Permission::ALL {
        let written = object.get(permission.as_str()).map(|v| v.as_u64().expect("0 or 1"));
        assert_eq!(edit.named().contains(permission), written.is_some());
        assert_eq!(edit.granted().contains(permission), written == Some(1));
        assert_eq!(edit.for_new().contains(permission), written != Some(0));
    }
    assert!(edit.apply(Permissions::NONE) == edit.granted());
});
