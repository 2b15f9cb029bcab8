//! Pages of the console, for an account with 10,000 credentials: the CPU time that each costs.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use sqlx::{ConnectOptions, Connection};

use super::gatepost::{ACCOUNT, HASH_COST, PASSWORD, add_account, connect, read_answer};
use super::measure::Spread;
use super::proc::{self, Children, free_address};
use super::sessions;

/// The credentials of the account.
const CREDENTIALS: i64 = 10_000;
/// Milliseconds of CPU that a page may cost.
const WANTED: f64 = 5.0;
/// Turns of each kind of page.
const TURNS: usize = 5;
/// Pages in a turn.
const PAGES: u32 = 100;

const FILL: [&str; 3] = [
    "INSERT INTO principal (account_id, name, hash, bits, note, created_at, updated_at) \
     WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2) \
     SELECT account.id, format('cred%05d@example.com', i * 7919 % 100003), '$2b$10$' || hex(randomblob(26)), 1 + i % 7, \
     'Sends receipts of shop ' || i, 1750000000 + i, 1750000000 + i FROM n, principal AS account WHERE account.name = $1",
    "UPDATE principal SET credentials = $2 WHERE name = $1",
    "INSERT INTO principal_use (principal_id, network, used_at, entry, address) \
     SELECT id, '192.0.2.0/24', unixepoch() - id % 8000000, 'smtp', '192.0.2.7' FROM principal WHERE name <> $1 AND $2 > 0",
];

/// Measures pages of the list, one after the other and of all sizes. Returns true if the required figure is reached.
///
/// # Errors
/// Where the gateway doesn't start, or a page isn't shown.
pub fn measure(program: &Path, scratch: &Path, children: &Children) -> Result<bool> {
    let (address, process) = start(program, scratch, children)?;
    let holder = std::iter::once((ACCOUNT.to_owned(), PASSWORD.to_owned()));
    let cookie = sessions::log_in(address, sessions::CONSOLE, holder)?.remove(0);
    let mut browser = Browser { connection: connect(address)?, address, cookie };
    println!("\n== console: a page of an account with {CREDENTIALS} credentials\n");
    println!("{:<28} {:>24}", "", "CPU ms");
    let mut reached = true;
    for (name, first) in [
        ("list, page after page", "/credentials"),
        ("list, 200 a page", "/credentials?limit=200"),
        ("search by a prefix", "/credentials?q=cred04"),
        ("add", "/credentials/add"),
        ("activity", "/activity"),
        ("sessions", "/sessions"),
    ] {
        let mut turns = Vec::new();
        for _ in 0..TURNS {
            turns.push(browser.read_pages(first, process)?);
        }
        let spent = Spread::of(turns.into_iter());
        // The required figure is for a page as the console shows it first.
        let verdict = if first == "/credentials" {
            let meets = spent.median <= WANTED;
            reached &= meets;
            format!("   required: at most {WANTED:.1}, {}", if meets { "reached" } else { "not reached" })
        } else {
            String::new()
        };
        println!("{name:<28} {:>24}{verdict}", spent.show(2));
    }
    Ok(reached)
}

/// Starts a gateway with a console and the credentials. Gives the console's address and the process.
fn start(program: &Path, scratch: &Path, children: &Children) -> Result<(SocketAddr, u32)> {
    let folder = scratch.join("console");
    std::fs::create_dir_all(&folder)?;
    let (file, store) = (folder.join("gatepost.toml"), folder.join("gatepost.db"));
    let address = free_address()?;
    let configuration = format!(
        "[store]\nurl = \"sqlite://{}\"\n[server]\nthreads = 1\n[auth]\nbcrypt_cost = {HASH_COST}\nthrottle = false\n\
         [console]\nlisten = [\"{address}\"]\n",
        store.display()
    );
    std::fs::write(&file, configuration)?;
    add_account(program, &file)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = sqlx::sqlite::SqliteConnectOptions::new().filename(&store).connect().await?;
        for statement in FILL {
            sqlx::query(statement).bind(ACCOUNT).bind(CREDENTIALS).execute(&mut connection).await?;
        }
        connection.close().await
    })?;
    let mut command = Command::new(program);
    command.arg("serve").arg("--config").arg(&file);
    Ok((address, children.serve("console", &mut command, address)?))
}

/// A connection of a browser that is logged in.
struct Browser {
    connection: TcpStream,
    address: SocketAddr,
    cookie: String,
}

impl Browser {
    /// Reads pages one after the other by their links, and from the first again after the last. Gives the milliseconds of CPU of each.
    fn read_pages(&mut self, first: &str, process: u32) -> Result<f64> {
        let mut target = first.to_owned();
        let before = proc::cpu_time(process)?;
        for _ in 0..PAGES {
            let page = self.read(&target)?;
            target = next(&page).unwrap_or_else(|| first.to_owned());
        }
        let spent = proc::cpu_time(process)? - before;
        Ok((spent.user + spent.kernel) * 1e3 / f64::from(PAGES))
    }

    fn read(&mut self, target: &str) -> Result<String> {
        let Browser { connection, address, cookie } = self;
        write!(
            connection,
            "GET {target} HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\nAccept: text/html\r\n\r\n"
        )?;
        let page = read_answer(connection)?;
        ensure!(page.starts_with("HTTP/1.1 200"), "{target}: {}", page.lines().next().unwrap_or_default());
        Ok(page)
    }
}

/// The address of the next page, if the list has one.
fn next(page: &str) -> Option<String> {
    let link = page.split("<a ").find(|link| link.contains("rel=\"next\""))?;
    let address = link.split("href=\"").nth(1)?.split('"').next()?;
    Some(address.replace("&amp;", "&").replace("&#38;", "&"))
}
