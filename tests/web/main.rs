//! The gate and the console in a real browser, Chromium: what people do, what hostile pages try, and how it looks.

#[path = "../common/mod.rs"]
mod common;

mod screenshots;
mod stage;

use stage::play;

#[test]
fn gate() {
    play(
        "gate.js",
        &[
            "login",
            "the_account_holder_logs_in_too",
            "a_deep_link_keeps_its_query",
            "a_deep_link_keeps_its_fragment",
            "a_landing_page_that_leads_to_another_origin",
            "a_wrong_password",
            "a_throttled_login_says_when_to_try_again",
            "logout",
            "a_session_ends_when_it_is_idle",
            "a_session_ends_at_its_lifetime",
            "revoked_while_the_page_is_open",
            "suspended_while_the_page_is_open",
            "a_cleared_permission_is_said_in_words",
            "without_the_permission_there_is_no_session",
            "a_websocket_ends_within_a_second",
            "a_form_without_a_session_says_that_nothing_was_sent",
            "a_form_with_a_session_arrives",
            "a_fetch_without_a_session_gets_no_challenge",
            "password_managers_find_the_fields",
            "login_without_javascript",
            "login_by_keyboard",
            "login_over_cleartext",
            "a_cookie_that_does_not_stick_is_said",
            "no_login_over_cleartext_through_a_network",
            "a_login_that_is_open_twice",
        ],
    );
}

#[test]
fn console() {
    play(
        "console.js",
        &[
            "the_first_credential",
            "a_generated_password_is_shown_once",
            "errors_stand_at_their_fields",
            "edit",
            "a_permission_above_the_rights_has_no_effect",
            "remove",
            "a_removal_of_several",
            "pages_and_search",
            "states_and_last_use",
            "sessions",
            "activity",
            "the_own_page_of_a_credential",
            "a_change_asks_for_the_password_after_five_minutes",
            "a_form_that_is_sent_after_the_session_has_ended",
            "logout",
            "a_deep_link_is_reached_by_way_of_the_login",
            "by_keyboard_alone",
            "without_javascript",
            "over_cleartext",
            "revoked_while_the_page_is_open",
        ],
    );
}

#[test]
fn attacks() {
    play(
        "attacks.js",
        &[
            "the_console_is_not_read",
            "a_cookie_of_one_entry_is_worth_nothing_at_the_other",
            "no_service_worker_comes_over_the_login",
            "a_logout_takes_what_the_dashboard_has_stored",
            "no_page_is_framed",
            "no_window_reaches_into_another",
            "a_backend_does_not_set_the_cookie",
            "a_sibling_does_not_set_the_cookie",
            "a_session_is_not_fixed",
            "a_partitioned_cookie_is_no_session",
            "tampered_cookies",
            "replayed_cookies_after_a_logout_and_a_restart",
            "forms_of_other_sites_change_nothing_at_the_console",
            "forms_of_other_sites_do_not_reach_the_dashboard",
            "other_sites_log_nobody_in_or_out",
            "websockets_of_other_origins",
            "a_websocket_of_an_allowed_origin",
            "redirects_stay_here",
            "markup_is_text",
            "the_dashboard_has_nothing_below_the_prefix",
        ],
    );
}

#[test]
fn looks() {
    play(
        "looks.js",
        &[
            "flaws_are_found",
            "the_login",
            "pages_of_the_gate",
            "the_list",
            "adding",
            "changing",
            "asked_for_the_password",
            "sessions_and_activity",
            "a_credential",
        ],
    );
}
