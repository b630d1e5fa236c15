//! Every statement of this folder, for the tests that prepare them all and read their plans.

use super::dialect::Sql;
use super::sql::SqlStore;

impl SqlStore {
    /// Every statement, for the test that prepares them all.
    pub(super) fn statements() -> Vec<(&'static str, Sql)> {
        [
            super::ready::STATEMENTS,
            super::accept::STATEMENTS,
            super::opted_out::STATEMENTS,
            super::born::STATEMENTS,
            super::carry::STATEMENTS,
            super::claim::STATEMENTS,
            super::sends::STATEMENTS,
            super::sent::STATEMENTS,
            super::settle::STATEMENTS,
            super::look::STATEMENTS,
            super::end::STATEMENTS,
            super::duty::STATEMENTS,
            super::invariants::STATEMENTS,
            super::desks::STATEMENTS,
            super::rulings::STATEMENTS,
            super::past::STATEMENTS,
            super::turns::STATEMENTS,
            super::wishes::STATEMENTS,
            super::again::STATEMENTS,
            super::watch::STATEMENTS,
            super::comments::STATEMENTS,
            super::read::STATEMENTS,
            super::lock::STATEMENTS,
            super::record::STATEMENTS,
            super::placed::STATEMENTS,
            super::kept::STATEMENTS,
            super::reply::STATEMENTS,
            super::replies::STATEMENTS,
            super::sums::STATEMENTS,
            super::known::STATEMENTS,
            super::views::STATEMENTS,
            super::held::STATEMENTS,
            super::tapped::STATEMENTS,
            super::outbox::STATEMENTS,
            super::told::STATEMENTS,
            super::subscriptions::STATEMENTS,
            super::tries::STATEMENTS,
            super::rollup::STATEMENTS,
            super::summary::STATEMENTS,
            super::follow::STATEMENTS,
            super::follow_list::STATEMENTS,
            &super::people::statements(),
        ]
        .concat()
    }
}
