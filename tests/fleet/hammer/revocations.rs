//! The revocations: removals, new passwords, cleared permissions, suspensions, and statements in psql, each by a random node.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::checks::Subject;
use super::nodes::{NODES, Nodes, repeat};
use crate::common::random::Random;

/// The time for which a credential stays revoked and is checked.
const HELD: Duration = Duration::from_millis(60);

/// The figures of the revocations.
#[derive(Default)]
pub struct Answers {
    pub revocations: AtomicU64,
    /// Calls that were answered with 503 or not at all, and repeated.
    pub repeated: AtomicU64,
    /// The time of each revocation that succeeded at its first call, in microseconds.
    pub micros: Mutex<Vec<u64>>,
}

/// All that a worker needs.
pub struct Workplace<'a> {
    pub nodes: &'a Nodes,
    pub subjects: &'a [Subject],
    /// One for each account: its credentials are changed by one worker at a time.
    pub accounts: &'a [Mutex<()>],
    pub answers: &'a Answers,
    pub began: Instant,
    pub stop: &'a AtomicBool,
}

impl Workplace<'_> {
    /// Revokes and grants, until `stop`.
    pub fn work(&self, seed: u64) {
        let mut random = Random::new(seed);
        let each = self.subjects.len() / self.accounts.len();
        while !self.stop.load(Ordering::Relaxed) {
            let account = random.below(self.accounts.len() as u64) as usize;
            let Ok(_turn) = self.accounts[account].try_lock() else {
                std::thread::sleep(Duration::from_millis(2));
                continue;
            };
            let all = &self.subjects[account * each..(account + 1) * each];
            let subject = &all[random.below(each as u64) as usize];
            match random.below(100) {
                0..40 => self.remove(subject, &mut random),
                40..65 => self.change_password(subject, &mut random),
                65..85 => self.clear_permission(subject, &mut random),
                85..95 => self.delete_by_psql(subject, &mut random),
                _ => self.suspend(all, &mut random),
            }
        }
    }

    fn remove(&self, subject: &Subject, random: &mut Random) {
        let parameters = format!("username={}", subject.name);
        // Not found: an attempt before it was answered with 503, and has removed it.
        self.revoke(&[subject], random, |node| {
            self.manage(node, subject, "remove", &parameters, &[200, 404])
        });
        self.add(subject, random);
    }

    fn change_password(&self, subject: &Subject, random: &mut Random) {
        let password = new_password(random);
        let parameters = format!("username={}&password={password}", subject.name);
        self.revoke(&[subject], random, |node| self.manage(node, subject, "edit", &parameters, &[200]));
        subject.is_to_be_granted();
        *subject.password.write().unwrap() = password;
        subject.is_granted(self.began);
    }

    fn clear_permission(&self, subject: &Subject, random: &mut Random) {
        let edit = |value: u8| format!("username={}&permissions[api]={value}", subject.name);
        self.revoke(&[subject], random, |node| self.manage(node, subject, "edit", &edit(0), &[200]));
        self.grant(&[subject], random, |node| self.manage(node, subject, "edit", &edit(1), &[200]));
    }

    fn delete_by_psql(&self, subject: &Subject, random: &mut Random) {
        // In the middle of a restart, the connection or the procedure fails, and both are repeated.
        self.revoke(&[subject], random, |_| {
            let name = &subject.name;
            self.nodes.psql(&format!("DELETE FROM credentials WHERE username = '{name}'"))?;
            self.nodes.psql("CALL gatepost_settle()").map(drop)
        });
        self.add(subject, random);
    }

    fn suspend(&self, all: &[Subject], random: &mut Random) {
        let account = all[0].account.as_str();
        let subjects: Vec<&Subject> = all.iter().collect();
        let run = |node: usize, action: &str| {
            let output = self.nodes.nodes[node].command(&["account", action, account], "");
            match output.status.code() {
                Some(0) => Ok(()),
                code => Err(format!("{code:?}: {}", String::from_utf8_lossy(&output.stderr))),
            }
        };
        self.revoke(&subjects, random, |node| run(node, "suspend"));
        self.grant(&subjects, random, |node| run(node, "resume"));
    }

    fn add(&self, subject: &Subject, random: &mut Random) {
        let password = new_password(random);
        let parameters = format!("username={}&password={password}", subject.name);
        subject.is_to_be_granted();
        *subject.password.write().unwrap() = password;
        // A conflict: an attempt before it was answered with 503, and has added it.
        self.grant(&[subject], random, |node| self.manage(node, subject, "add", &parameters, &[200, 409]));
    }

    /// Repeats a revocation until it succeeds, and holds it for a while.
    fn revoke(&self, subjects: &[&Subject], random: &mut Random, call: impl Fn(usize) -> Result<(), String>) {
        subjects.iter().for_each(|subject| subject.is_to_be_revoked());
        let began = Instant::now();
        let attempts = repeat(&format!("revoking {}", subjects[0].name), || call(any_node(random)));
        subjects.iter().for_each(|subject| subject.is_revoked());
        self.answers.revocations.fetch_add(1, Ordering::Relaxed);
        self.answers.repeated.fetch_add(u64::from(attempts - 1), Ordering::Relaxed);
        if attempts == 1 {
            self.answers.micros.lock().unwrap().push(began.elapsed().as_micros() as u64);
        }
        std::thread::sleep(HELD);
    }

    fn grant(&self, subjects: &[&Subject], random: &mut Random, call: impl Fn(usize) -> Result<(), String>) {
        subjects.iter().for_each(|subject| subject.is_to_be_granted());
        repeat(&format!("granting {}", subjects[0].name), || call(any_node(random)));
        subjects.iter().for_each(|subject| subject.is_granted(self.began));
    }

    /// A call to the management API. Everything but success, "try again" and no answer is an error of Gatepost.
    fn manage(
        &self,
        node: usize,
        subject: &Subject,
        action: &str,
        parameters: &str,
        done: &[u16],
    ) -> Result<(), String> {
        let answer = self.nodes.nodes[node].manage(&subject.account, action, parameters);
        match answer {
            Some(answer) if done.contains(&answer.status) => Ok(()),
            Some(answer) if answer.status == 503 => Err(answer.text()),
            Some(answer) => panic!("{action} {parameters}: {} {}", answer.status, answer.text()),
            None => Err("no answer".to_owned()),
        }
    }
}

fn any_node(random: &mut Random) -> usize {
    random.below(NODES as u64) as usize
}

pub fn new_password(random: &mut Random) -> String {
    format!("pass{:016x}", random.number())
}
