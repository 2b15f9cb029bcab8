//! Faults of mail clients in the pure session: those that count as errors, and those that end the session.

use crate::common::driver::{Driver, authorised, run, settings};

/// Runs it whole and byte by byte, which makes no difference.
fn run_split(text: &str) -> Driver {
    let whole = run(text);
    let mut split = Driver::new(settings());
    for byte in text.as_bytes() {
        split.feed(&[*byte]);
    }
    assert_eq!(whole.raw_text(), split.raw_text());
    assert_eq!(whole.closed, split.closed);
    whole
}

#[test]
fn what_belongs_to_a_refused_sender_is_no_error() {
    // As many as a transaction can have, and DATA; or the same in chunks.
    let refused = "MAIL FROM:<refused@test>\r\n".to_owned() + &"RCPT TO:<b@test>\r\n".repeat(5);
    let good = "MAIL FROM:<a@test>\r\nRCPT TO:<b@test>\r\nDATA\r\nx\r\n.\r\n";
    let once = format!("{}{refused}DATA\r\n", authorised());
    let driver = run_split(&format!("{once}{refused}BDAT 3 LAST\r\nab\n{refused}RSET\r\n{good}QUIT\r\n"));
    assert_eq!(driver.codes().iter().filter(|code| **code == 503).count(), 17);
    assert_eq!(driver.codes().last(), Some(&221), "{}", driver.text());
    assert_eq!(driver.delivered.len(), 1);
    // More of it are errors, and so they are without a sender.
    let driver = run_split(&(once.clone() + &"RCPT TO:<b@test>\r\n".repeat(30)));
    assert_eq!(driver.codes()[10..].len(), 20 + 1);
    assert!(driver.text().ends_with("421 4.7.0 Too many errors, closing connection\r\n"));
    let driver = run_split(&format!("{once}RSET\r\n{}", "DATA\r\n".repeat(30)));
    assert_eq!(driver.codes()[11..].len(), 20 + 1);
    // A sender that was refused counts as a message.
    let driver = run_split(&format!("{}{}", authorised(), refused.repeat(5)));
    assert!(driver.text().ends_with("421 4.7.0 Too many messages in one session, connect again\r\n"));
    assert_eq!(driver.codes().len(), 3 + 4 * 6 + 1);
    // Neither is one for which there was no room an excuse.
    let large = "MAIL FROM:<a@test> SIZE=999999\r\nRCPT TO:<b@test>\r\nDATA\r\n".repeat(19);
    let driver = run_split(&format!("{}{large}NOOP\r\n", authorised()));
    assert_eq!(driver.codes().last(), Some(&250));
}

#[test]
fn chunks_that_follow_a_failure_are_no_errors() {
    let begin = authorised() + "MAIL FROM:<lost@test>\r\nRCPT TO:<b@test>\r\n";
    let driver = run_split(&format!("{begin}{}BDAT 1 LAST\r\nxNOOP\r\n", "BDAT 1\r\nx".repeat(30)));
    assert_eq!(driver.codes()[5..7], [451, 503]);
    assert_eq!(driver.codes().last(), Some(&250));
    let begin = authorised() + "MAIL FROM:<a@test>\r\nRCPT TO:<bad@test>\r\n";
    let driver = run_split(&format!("{begin}{}NOOP\r\n", "BDAT 1 LAST\r\nx".repeat(30)));
    assert_eq!(driver.codes().last(), Some(&250));
}

#[test]
fn a_chunk_of_unknown_length_ends_the_session() {
    let begin = authorised() + "MAIL FROM:<a@test>\r\nRCPT TO:<b@test>\r\n";
    let body = "MAIL FROM:<smuggled@test>\r\nQUIT\r\n";
    for line in [
        "BDAT 70 LAST\n",
        "bdat 70 LAST\n",
        "BDAT 70 LAST\r",
        "BDAT\t70 LAST\r\n",
        "BDAT\0 70 LAST\r\n",
        "BDAT:70 LAST\r\n",
        "BDAT70 LAST\r\n",
        "BDAT 7O LAST\r\n",
        "BDAT\n",
        &format!("bDaT {}70 LAST\r\n", " ".repeat(600)),
        &format!("BDAT {}70", "0".repeat(600)),
    ] {
        for begin in [&begin, ""] {
            let driver = run_split(&format!("{begin}{line}{body}"));
            let said = driver.codes().len() - run(begin).codes().len();
            assert!(
                driver.closed && said == 1 && driver.codes().last() < Some(&502),
                "{line:?}: {}",
                driver.text()
            );
        }
    }
}

#[test]
fn an_endless_login_is_told_so() {
    let long = "x".repeat(13_000);
    let driver = run_split(&format!(
        "EHLO x\r\nAUTH PLAIN {long}\r\nAUTH PLAIN\r\n{long}\r\nAUTH LOGIN\r\nBDAT{long}\r\nNOOP\r\n"
    ));
    assert_eq!(driver.codes()[2..], [500, 334, 500, 334, 500, 250]);
    assert_eq!(driver.text().matches("500 5.5.6 ").count(), 3);
}
