//! Pages of credentials in the order of their names.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use super::*;
use crate::common::random::Random;
use gatepost::domain::{
    CredentialDetails, Entry, NameBound, NamePrefix, Note, PageDirection, PrincipalId, UseState,
};
use gatepost::state::store::{CredentialFilter, CredentialSlice, NameRange, PrincipalUse};

const DAY: i64 = 24 * 60 * 60;

/// What the model knows of a credential.
#[derive(Clone)]
struct Known {
    holds: Permissions,
    has_note: bool,
    use_state: UseState,
}

fn passes(filter: &CredentialFilter, known: &Known) -> bool {
    let holds_one = filter.holds.is_empty() || !filter.holds.and(known.holds).is_empty();
    holds_one
        && (!filter.has_note || known.has_note)
        && filter.use_state.is_none_or(|wanted| wanted == known.use_state)
}

fn whole() -> NameRange {
    let prefix = NamePrefix::default();
    NameRange { lower: prefix.lower().to_owned(), upper: prefix.upper() }
}

fn names(slice: &[CredentialDetails]) -> Vec<String> {
    slice.iter().map(|details| details.credential.name.canonical().as_str().to_owned()).collect()
}

impl Fixture {
    async fn page(
        &self,
        account: AccountId,
        range: &NameRange,
        direction: PageDirection,
        filter: &CredentialFilter,
        limit: u32,
    ) -> CredentialSlice {
        self.store.credential_page(account, range, direction, filter, limit).await.unwrap()
    }

    /// All pages from one end to the other: the names as they came.
    async fn all(
        &self,
        account: AccountId,
        mut range: NameRange,
        direction: PageDirection,
        filter: &CredentialFilter,
        limit: u32,
    ) -> Vec<String> {
        let mut found = Vec::new();
        loop {
            let slice = self.page(account, &range, direction, filter, limit).await;
            assert!(slice.credentials.len() <= limit as usize);
            let mut page = names(&slice.credentials);
            assert!(page.is_sorted(), "{page:?}");
            if direction == PageDirection::Backwards {
                page.reverse();
            }
            found.extend(page);
            let Some(bound) = slice.continues else { return found };
            let (before, after) = range.split_at(bound.text());
            range = if direction == PageDirection::Forwards { after } else { before };
        }
    }

    /// Adds a credential with a note, permissions and a last use.
    async fn add_known(&self, account: AccountId, text: &str, known: &Known) {
        let note = known.has_note.then(|| Note::parse("what it is for").unwrap().unwrap());
        let permissions = PermissionEdit::exactly(known.holds);
        let new = NewCredential { name: name(text), hash: hash("h"), permissions, note };
        let _ = self.store.add_credential(account, Authority::Holder, &new).await.unwrap();
        let added = self.store.credential(account, &canonical(text)).await.unwrap().unwrap();
        let used_at = match known.use_state {
            UseState::Active => now() - 5 * DAY,
            UseState::Unused => now() - 95 * DAY,
            UseState::NeverUsed => return,
        };
        let id = PrincipalId(added.id.0);
        let used = PrincipalUse { used_at, ..PrincipalUse::now(id, [192, 0, 2, 1].into(), Entry::Smtp) };
        self.store.write_last_uses(&[used]).await.unwrap();
    }
}

fn random_known(random: &mut Random) -> Known {
    let bits = u8::try_from(random.below(8)).unwrap();
    let use_state = UseState::ALL[random.below(3) as usize];
    Known { holds: Permissions::from_bits(bits).unwrap(), has_note: random.chance(30), use_state }
}

fn random_name(random: &mut Random) -> String {
    let alphabet = b"aAbBz09._-+@";
    let length = random.between(2, 5);
    let rest = (0..length).map(|_| char::from(alphabet[random.below(alphabet.len() as u64) as usize]));
    format!("x{}", rest.collect::<String>())
}

#[tokio::test]
async fn pages_of_random_names_and_filters_equal_a_model() {
    let mut random = Random::new(16);
    for f in both().await {
        let (account, other) = (f.account("holder").await, f.account("x-other").await);
        let mut model = BTreeMap::new();
        for _ in 0..120 {
            let (text, known) = (random_name(&mut random), random_known(&mut random));
            let canonical = text.to_ascii_lowercase();
            let Slot::Vacant(free) = model.entry(canonical) else { continue };
            let whose = if random.chance(20) { other } else { account };
            f.add_known(whose, &text, &known).await;
            free.insert((whose, known));
        }
        for _ in 0..60 {
            let some = Permissions::from_bits(u8::try_from(random.below(8)).unwrap()).unwrap();
            let filter = CredentialFilter {
                holds: if random.chance(50) { some } else { Permissions::NONE },
                use_state: random.chance(50).then(|| UseState::ALL[random.below(3) as usize]),
                has_note: random.chance(30),
            };
            let begin = random_name(&mut random);
            let prefix = NamePrefix::of(&begin[..random.below(3) as usize]).unwrap();
            let range = NameRange { lower: prefix.lower().to_owned(), upper: prefix.upper() };
            let limit = u32::try_from(random.between(1, 40)).unwrap();
            let expected: Vec<String> = model
                .iter()
                .filter(|(name, (whose, known))| {
                    *whose == account && name.starts_with(prefix.lower()) && passes(&filter, known)
                })
                .map(|(name, _)| name.clone())
                .collect();
            let forwards = f.all(account, range.clone(), PageDirection::Forwards, &filter, limit).await;
            assert_eq!(forwards, expected, "{filter:?} {prefix:?} {limit}");
            let mut backwards = f.all(account, range, PageDirection::Backwards, &filter, limit).await;
            backwards.reverse();
            assert_eq!(backwards, expected, "{filter:?} {prefix:?} {limit}");
        }
    }
}

#[tokio::test]
async fn a_cursor_outlives_its_name_and_sees_what_is_added() {
    for f in both().await {
        let account = f.account("holder").await;
        for text in ["bbb", "ddd", "fff"] {
            f.add(account, text).await.unwrap();
        }
        let filter = CredentialFilter::default();
        let first = f.page(account, &whole(), PageDirection::Forwards, &filter, 2).await;
        assert_eq!(names(&first.credentials), ["bbb", "ddd"]);
        let bound = first.continues.unwrap();
        let _ = f.store.remove_credential(account, Authority::Holder, &canonical("ddd")).await.unwrap();
        for text in ["aaa", "ccc", "dddd", "eee"] {
            f.add(account, text).await.unwrap();
        }
        let (before, after) = whole().split_at(bound.text());
        let next = f.page(account, &after, PageDirection::Forwards, &filter, 10).await;
        assert_eq!(
            (names(&next.credentials), next.continues),
            (vec!["dddd".into(), "eee".into(), "fff".into()], None)
        );
        let previous = f.page(account, &before, PageDirection::Backwards, &filter, 2).await;
        assert_eq!(names(&previous.credentials), ["bbb", "ccc"]);
        assert_eq!(previous.continues, Some(NameBound::before(canonical("bbb"))));
        assert!(f.store.has_credential_in(account, &before).await.unwrap());
        let nothing = NameRange { lower: "g".to_owned(), upper: "~".to_owned() };
        assert!(!f.store.has_credential_in(account, &nothing).await.unwrap());
    }
}

/// Statements that make an account of 100,000 credentials and another one of one, in either database.
const MANY: &str = "INSERT INTO principal (account_id, name, hash, bits, created_at, updated_at) \
     WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
     SELECT ACCOUNT, 'cred' || (i * 7919 % 100003 + 1000000), 'h', 2, 0, 0 FROM n";

// Both databases: a page with a filter that nothing passes reads a bounded part of the index, and the pages come to an end.
#[tokio::test]
async fn a_filter_that_matches_nothing_is_bounded_work() {
    for f in both().await {
        let account = f.account("holder").await;
        f.query(&MANY.replace("ACCOUNT", &account.0.to_string())).await;
        let filter = CredentialFilter { has_note: true, ..CredentialFilter::default() };
        let (mut range, mut pages) = (whole(), 0);
        loop {
            let slice = f.page(account, &range, PageDirection::Forwards, &filter, 100).await;
            assert!(slice.credentials.is_empty());
            let Some(bound) = slice.continues else { break };
            range = range.split_at(bound.text()).1;
            pages += 1;
        }
        assert_eq!(pages, 100_000 / 2_000, "each page has read 2,000 names");
        // One in the middle is found on its way, and without a filter each page is full.
        let rare = f.query("SELECT min(name) FROM principal WHERE name >= 'cred1050000'").await;
        f.query(&format!("UPDATE principal SET note = 'x' WHERE name = '{rare}'")).await;
        let found = f.all(account, whole(), PageDirection::Backwards, &filter, 100).await;
        assert_eq!(found, [rare]);
        let all = f.page(account, &whole(), PageDirection::Forwards, &CredentialFilter::default(), 200).await;
        assert_eq!(all.credentials.len(), 200);
    }
}
