use super::*;

fn parse(lines: &[&str]) -> Result<PartHeader<'static>, FormError> {
    let block = lines.iter().flat_map(|l| [l, "\r\n"]).collect::<String>();
    let PartHeader { name, is_file, is_nested, credential } = PartHeader::parse(block.as_bytes())?;
    let name = name.map(|name| Cow::Owned(name.into_owned()));
    Ok(PartHeader { name, is_file, is_nested, credential })
}

fn named(disposition: &str) -> Result<PartHeader<'static>, FormError> {
    parse(&[&format!("Content-Disposition: form-data; {disposition}")])
}

#[test]
fn names() {
    let cases = [
        (r#"name="to""#, "to", None),
        ("name=to", "to", None),
        ("NAME=api_user", "api_user", Some(CredentialKey::Username)),
        (r#"name="api_key""#, "api_key", Some(CredentialKey::Secret)),
        (r#"name="api%5Fkey""#, "api%5Fkey", Some(CredentialKey::Secret)),
        (r#"name="%u0061pi_key""#, "%u0061pi_key", Some(CredentialKey::Secret)),
        (r#"name="api\_key""#, "api_key", Some(CredentialKey::Secret)),
        (r#"name="api\%5Fkey""#, "api%5Fkey", Some(CredentialKey::Secret)),
        ("name='api_key'", "'api_key'", Some(CredentialKey::Secret)),
        (r#"name="'api_key'""#, "'api_key'", Some(CredentialKey::Secret)),
        (r#"name="api_key[]""#, "api_key[]", Some(CredentialKey::Secret)),
        (r#"name="[api_key]""#, "[api_key]", Some(CredentialKey::Secret)),
        (r#"name="api_user]""#, "api_user]", Some(CredentialKey::Username)),
        (r#"name="[]api_user""#, "[]api_user", Some(CredentialKey::Username)),
        (r#"name=" api_key ""#, " api_key ", Some(CredentialKey::Secret)),
        (r#"name="/api_key""#, "/api_key", Some(CredentialKey::Secret)),
        (r#"name="\\api_key""#, r"\api_key", Some(CredentialKey::Secret)),
        (r#"name="\"api_key\"""#, r#""api_key""#, Some(CredentialKey::Secret)),
        (r#"name="x[api_key]""#, "x[api_key]", None),
        (r#"name="my_api_key""#, "my_api_key", None),
        (r#"name="api_users""#, "api_users", None),
        (r#"name="files[a\"b]""#, r#"files[a"b]"#, None),
        (
            r#"name="=?utf-8?B?ZmlsZXNbcsOpc3Vtw6kucGRmXQ==?=""#,
            "=?utf-8?B?ZmlsZXNbcsOpc3Vtw6kucGRmXQ==?=",
            None,
        ),
        ("name=\"\u{fc}\"", "\u{fc}", None),
    ];
    for (text, name, credential) in cases {
        let head =
            PartHeader { name: Some(name.as_bytes().into()), is_file: false, is_nested: false, credential };
        assert_eq!(named(text), Ok(head), "{text}");
    }
}

#[test]
fn files_and_parts_without_names() {
    for text in [
        r#"name="f"; filename="a.pdf""#,
        r#"name="f"; filename="C:\dir\file""#,
        r#"name="f"; filename="""#,
        r#"name="f"; filename"#,
        r#"name="files[api_key.txt]"; filename="api_key.txt"; filename*=UTF-8''api_key.txt"#,
    ] {
        assert!(named(text).unwrap().is_file, "{text}");
    }
    let typed = [
        r#"Content-Disposition: form-data; name="f"; filename="api_key.txt""#,
        r#"Content-Type: text/plain; name="a.txt""#,
        "X-Note: api_key",
    ];
    assert!(parse(&typed).unwrap().is_file);
    let nameless = PartHeader { name: None, is_file: false, is_nested: false, credential: None };
    assert_eq!(parse(&[]), Ok(nameless));
    let other = parse(&["content-DISPOSITION:form-data;name=\"a\"", "Content-Type: text/plain;charset=x"]);
    assert_eq!(&*other.unwrap().name.unwrap(), b"a");
    assert!(parse(&["Content-ID: <1@x>", "Content-Disposition: inline"]).is_ok());
    assert!(
        parse(&["Content-Transfer-Encoding: 8BIT", "Content-Disposition: form-data; name=api_key"]).is_ok()
    );
}

// Case A15: the names of old Python clients, in the extended form.
#[test]
fn extended_names_of_other_fields() {
    for (text, name) in [
        (
            "name*=utf-8''files%5Br%C3%A9sum%C3%A9.pdf%5D; filename*=utf-8''r%C3%A9sum%C3%A9.pdf",
            "files[résumé.pdf]",
        ),
        ("name*=UTF-8'en'%C3%BC", "\u{fc}"),
        ("name*=\"utf-8''%C3%BC\"", "\u{fc}"),
        ("name*=koi8-r''%C3%BC", "\u{fc}"),
        ("name=\"a\"; name*=utf-8''%C3%BC", "a"),
        ("name*=utf-8''api_users", "api_users"),
        ("name*=utf-8''files%5Bapi_key.txt%5D; filename*=utf-8''%C3%BC", "files[api_key.txt]"),
    ] {
        let named = named(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(String::from_utf8_lossy(&named.name.unwrap()), name);
    }
    for text in [
        "name*=utf-8''api_key",
        "name*=utf-8''%61pi%5Fkey",
        "name*=utf-8''%5Bapi_key%5D",
        "name*=utf-8''%00api_key%00",
        "name*=utf-8''%22api_key%22",
        "name*=utf-8'api_key",
        "name*=api_key",
        "name*=ibm037''%81%97%89",
        "name*=utf-7''x",
        "name*=utf-8''%3D%3Futf-8%3FQ%3Fapi_key%3F%3D",
        "name*=utf-8''a; name*=utf-8''a",
        "name=api_key; name*=utf-8''a",
        "name*",
        "name*0=a; name*1=b",
        "name*0*=utf-8''a",
    ] {
        assert!(named(text).is_err(), "{text}: {:?}", named(text));
    }
}

#[test]
fn texts_say_what_to_change() {
    for (text, error) in [
        ("name", NO_VALUE),
        ("name = a", PARAMETER),
        ("name*0=a", CONTINUED),
        ("name=a; name=b", TWO_NAMES),
        ("name*=a", EXTENDED_NAME),
        ("name=\"=?x\"", WORD),
        ("name=api_key; filename=a", UNUSUAL),
        ("x=\"api_key\\\"\"", HIDDEN),
    ] {
        assert_eq!(named(text), Err(error), "{text}");
    }
    assert_eq!(parse(&["no colon"]), Err(LINE));
}

#[test]
fn headers_that_can_be_read_in_two_ways_are_refused() {
    for text in [
        r#"name="a"; name="api_key""#,
        r#"name="a"; NAME="a""#,
        "name*=utf-8''api_key",
        "name*0=api_; name*1=key",
        "name",
        r#"name="api_key"#,
        r#"name ="api_key""#,
        r#"name= "api_key""#,
        "name=api_key x",
        r#"name="api_key"; filename="x""#,
        r#"name="api_key"; filename"#,
        r#"name="api_key"; filename*=utf-8''x"#,
        r#"name="a"; filename="x"; filename="y""#,
        r#"name="=?utf-8?B?YXBpX2tleQ==?=""#,
        r#"name="=?utf-8?Q?api=5Fkey=5B=5D?=""#,
        r#"name="=?utf-8?Q?=25u0061pi_key?=""#,
        r#"name="=?utf-8?Q?=3D=3Futf-8=3FB=3FYQ=3D=3D=3F=3D?=""#,
        r#"name="=?utf-8?B?YXBp?= =?utf-8?B?X2tleQ==?=""#,
        r#"name="=?utf-7?Q?api=5Fkey?=""#,
        r#"name="=?utf-8?Q??="; filename="api_key""#,
        r#"name="api_key =?utf-8?Q??=""#,
        r#"filename="a\"; name=api_key; x=""#,
        r#"name="a\"; name=api%5fkey; x=""#,
        r#"x="y" name="api_key""#,
        r#"x-name="api_key"; name="a""#,
        r#"name="a"; filename="; name=api_key""#,
        r#"filename="api_key""#,
        r#"name=""; filename="[api_key]""#,
        "'name'=api_key",
    ] {
        assert!(named(text).is_err(), "{text}: {:?}", named(text));
    }
    let plain = "Content-Disposition: form-data; name=api_key";
    for lines in [
        &["Content-Disposition: attachment; name=api_key"][..],
        &["Content-Disposition: form-data; name=a", plain],
        &[plain, "Content-Transfer-Encoding: base64"],
        &["Content-Transfer-Encoding: quoted-printable", plain],
        &["Content-ID: <api_key>"],
        &["Content-ID: api%5Fuser"],
        &["Content-Type: api_user"],
        &["Content-Disposition: name=api_key"],
        &["Content-Disposition: form-data name=api_key; x=y"],
        &["X: Content-Disposition: form-data; name=api_key", "Content-Disposition: form-data; name=a"],
        &[
            "Content-Type: a; x=\"Content-Disposition: b; name=api_key\"",
            "Content-Disposition: form-data; name=a",
        ],
        &["X: y", " Content-Disposition: form-data; name=api_key"],
        &["Content-Disposition: form-data;", "\tname=api_key"],
        &["Content-Disposition : form-data; name=api_key"],
        &["X: y\nContent-Disposition: form-data; name=api_key"],
        &["X: y\rContent-Disposition: form-data; name=api_key"],
        &["Content-Disposition: form-data; name=api_key\0"],
        &["no colon"],
        &[": x"],
    ] {
        assert!(parse(lines).is_err(), "{lines:?}");
    }
}
