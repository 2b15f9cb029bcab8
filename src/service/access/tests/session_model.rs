//! Sessions of one principal against a model of them.

use proptest::prelude::*;

use super::sessions::*;
use super::*;

/// A step in the life of two sessions of one principal.
#[derive(Clone, Copy, Debug)]
enum Step {
    Ask(usize),
    End(usize),
    Begin(usize),
    NewPassword,
    Suspend,
    Resume,
    ClearWeb,
    GrantWeb,
    Renew,
    Evict,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    // Whatever is done in whatever order, and whatever the connection remembers: a session is good as long as the model says so.
    #[test]
    fn a_session_is_good_as_long_as_the_model_says(steps in proptest::collection::vec(step(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(check_model(&steps));
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..2_usize).prop_map(Step::Ask),
        2 => (0..2_usize).prop_map(Step::End),
        3 => (0..2_usize).prop_map(Step::Begin),
        1 => Just(Step::NewPassword),
        1 => Just(Step::Suspend),
        2 => Just(Step::Resume),
        1 => Just(Step::ClearWeb),
        2 => Just(Step::GrantWeb),
        1 => Just(Step::Renew),
        1 => Just(Step::Evict),
    ]
}

async fn check_model(steps: &[Step]) {
    let house = house().await;
    let name = canonical("seer");
    let (mut active, mut web) = (true, true);
    let mut browsers: [Option<(BegunBrowser, ConnectionMemory, bool)>; 2] = [None, None];
    for step in steps {
        match *step {
            Step::Begin(nth) if active => {
                browsers[nth] =
                    Some((house.begin("seer", Entry::Web).await, ConnectionMemory::default(), true));
            }
            Step::End(nth) => {
                if let Some((begun, _, alive @ true)) = &mut browsers[nth] {
                    house.end_session(begun).await;
                    *alive = false;
                }
            }
            Step::NewPassword => {
                house.edit("seer", Some(PASSWORD), "{}").await;
                browsers.iter_mut().flatten().for_each(|(_, _, alive)| *alive = false);
            }
            Step::Suspend => {
                house.set_active(false).await;
                active = false;
                browsers.iter_mut().flatten().for_each(|(_, _, alive)| *alive = false);
            }
            Step::Resume => {
                house.set_active(true).await;
                active = true;
            }
            Step::ClearWeb | Step::GrantWeb => {
                web = matches!(step, Step::GrantWeb);
                house.edit("seer", None, if web { r#"{"web": 1}"# } else { r#"{"web": 0}"# }).await;
            }
            Step::Renew => {
                let old = house.access.store.principal(&name).await.unwrap().unwrap().hash;
                let new = StoredHash::new(bcrypt::hash(PASSWORD, COST).unwrap());
                assert!(house.access.store.renew_hash(&name, &old, &new).await.unwrap());
                house.access.epochs.raise(&name);
            }
            Step::Evict => {
                browsers.iter().flatten().for_each(|(begun, ..)| {
                    house.access.cache.remove_session(&begun.cookie.digest());
                });
            }
            Step::Ask(nth) => {
                let Some((begun, memory, alive)) = browsers[nth].take() else { continue };
                let browser = Browser { house: &house, cookie: begun.cookie.clone(), memory };
                let expected = match (alive, web) {
                    (true, true) => Outcome::Allowed,
                    (true, false) => Outcome::Lacks,
                    (false, _) => Outcome::NoSession,
                };
                assert_eq!(browser.ask().await, expected, "{step:?} of {steps:?}");
                browsers[nth] = Some((begun, browser.memory, alive));
            }
            Step::Begin(_) => {}
        }
    }
}
