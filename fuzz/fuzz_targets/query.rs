#![no_main]

use gatepost_fuzz::wire::{Parameters, take_credential};

// What is left holds no credential, and is what came without some of its parameters.
libfuzzer_sys::fuzz_target!(|query: &[u8]| {
    let taken = take_credential(query);
    let mut parameters = Parameters::new();
    let all = parameters.add_query(query).is_ok().then(|| parameters.credential());
    match taken {
        Err(_) => {}
        Ok(None) => assert!(all.is_none_or(|credential| matches!(credential, Ok(None)))),
        Ok(Some(taken)) => {
            assert!(matches!(take_credential(&taken.rest), Ok(None)));
            let mut came = query.split(|b| *b == b'&');
            let kept: Vec<&[u8]> = taken.rest.split(|b| *b == b'&').collect();
            let all_left_in_order = kept.iter().all(|piece| came.any(|other| other == *piece));
            assert!(taken.rest.is_empty() || all_left_in_order);
            if let Some(all) = all {
                let all = all.expect("as the query's").expect("there is one");
                assert_eq!(all.presented().username, taken.held.presented().username);
                assert_eq!(all.presented().secret, taken.held.presented().secret);
            }
        }
    }
});
