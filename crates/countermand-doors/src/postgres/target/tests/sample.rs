//! Rows that a human is shown before they decide.

use super::{Site, unit, with_parameters};
use crate::postgres::unit::Unit;
use countermand_engine::target::{Cell, SENSITIVE, Sample, Target as _, Which};

const PEOPLE: &str = "CREATE SCHEMA shop;
    CREATE TABLE shop.people (
        id int PRIMARY KEY, name text, email text, \"apiToken\" text, note text, \"Odd \"\"one\" int);
    INSERT INTO shop.people
        SELECT n, 'person ' || n, n || '@x', 'tok' || n, NULL, n * 2 FROM generate_series(1, 50) n;
    CREATE TABLE shop.visits (
        id int PRIMARY KEY, person int REFERENCES shop.people ON DELETE CASCADE, place text);
    INSERT INTO shop.visits SELECT n, 1 + n % 50, 'place ' || n FROM generate_series(1, 500) n;";

impl Site {
    async fn sample(&self, unit: &Unit) -> Vec<Sample> {
        let actions = super::super::preview::read(unit).unwrap().actions;
        self.target.sample(&unit.to_payload(), &actions).await.unwrap()
    }

    fn tag(&mut self, column: &str) {
        self.target.setup.tags.insert(column.to_owned(), [SENSITIVE.to_owned()].into());
    }
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_that_a_condition_means_are_shown_and_what_is_sensitive_is_not_read() {
    let mut site = Site::start(PEOPLE).await;
    site.tag("shop.people.email");
    let sql = "DELETE FROM people WHERE id = 7 OR name = $1";
    let [visits, people] = &site.sample(&with_parameters(unit(sql), &["person 9"])).await[..]
    else {
        panic!("two tables lose rows");
    };
    assert_eq!((people.which, people.table.as_str()), (Which::Found, "shop.people"));
    assert_eq!(people.columns, ["id", "name", "email", "apiToken", "note", "Odd \"one"]);
    let row = |id: &str, twice: &str| {
        let name = format!("person {id}");
        vec![text(id), text(&name), Cell::Masked, Cell::Masked, Cell::Null, text(twice)]
    };
    assert_eq!(people.rows, [row("7", "14"), row("9", "18")]);
    // What the foreign key takes along.
    assert_eq!((visits.which, visits.table.as_str()), (Which::Found, "shop.visits"));
    assert_eq!(visits.rows.len(), 5);
    for row in &visits.rows {
        assert!([text("7"), text("9")].contains(&row[1]), "{row:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_rows_are_meant_where_all_go_and_any_where_nobody_can_tell() {
    let site = Site::start(PEOPLE).await;
    for sql in ["TRUNCATE visits", "DROP TABLE visits", "DELETE FROM visits"] {
        let samples = site.sample(&unit(sql)).await;
        assert!(samples.len() == 1 && samples[0].rows.len() == 5, "{sql}: {samples:?}");
        assert_eq!(samples[0].which, Which::All, "{sql}");
    }
    let using = "DELETE FROM visits USING people WHERE person = people.id AND people.id = 3";
    let twice =
        "UPDATE visits SET place = '' WHERE id = 1;\nUPDATE visits SET place = '' WHERE id = 2;\n";
    for sql in [using, twice] {
        let samples = site.sample(&unit(sql)).await;
        assert!(samples[0].which == Which::Any && samples[0].rows.len() == 5, "{sql}: {samples:?}");
    }
    let none = site.sample(&unit("DELETE FROM visits WHERE id = -1")).await;
    assert_eq!(none, []);
}

/// Of a partitioned table each partition shows its own, whatever the order of its columns.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_shows_its_own_rows() {
    let mut site = Site::start(
        "CREATE SCHEMA shop;
         CREATE TABLE shop.parts (id int, place text) PARTITION BY RANGE (id);
         CREATE TABLE shop.low (place text, id int);
         ALTER TABLE shop.parts ATTACH PARTITION shop.low FOR VALUES FROM (0) TO (100);
         CREATE TABLE shop.high PARTITION OF shop.parts FOR VALUES FROM (100) TO (200);
         INSERT INTO shop.parts SELECT n, 'p' || n FROM generate_series(0, 199) n;",
    )
    .await;
    let samples = site.sample(&unit("DELETE FROM parts WHERE id IN (50, 150, 151)")).await;
    let shown: Vec<_> = samples.iter().map(|it| (it.table.as_str(), it.rows.clone())).collect();
    assert_eq!(
        shown,
        [
            ("shop.high", vec![vec![text("150"), text("p150")], vec![text("151"), text("p151")]]),
            ("shop.low", vec![vec![text("p50"), text("50")]]),
        ]
    );
    assert!(samples.iter().all(|sample| sample.which == Which::Found));
    // What is said of the whole holds of its parts.
    site.tag("shop.parts.place");
    let samples = site.sample(&unit("DELETE FROM parts WHERE id IN (50, 150)")).await;
    let shown: Vec<_> = samples.iter().map(|sample| sample.rows[0].clone()).collect();
    assert_eq!(shown, [[Cell::Masked, text("50")], [text("150"), Cell::Masked]]);
}

/// A cast, an operator or a column's name may be an agent's own; a value may have any length.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_anybodys_runs_to_show_a_value_and_a_long_one_is_cut() {
    let site = Site::start(
        "CREATE SCHEMA shop;
         CREATE TYPE shop.odd AS (a int, b int);
         CREATE TABLE shop.ran (n int);
         CREATE FUNCTION shop.told(shop.odd) RETURNS text LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'the cast ran'; END $$;
         CREATE CAST (shop.odd AS text) WITH FUNCTION shop.told(shop.odd) AS IMPLICIT;
         CREATE TABLE shop.t (odd shop.odd, long text, vast text, void text, \"'; DROP\" int);
         ALTER TABLE shop.t ALTER vast SET STORAGE EXTERNAL;
         INSERT INTO shop.t VALUES
            (ROW(1, NULL), repeat('é', 121), repeat('x', 100000), '', 3);",
    )
    .await;
    let samples = site.sample(&unit("TRUNCATE t")).await;
    assert_eq!(
        samples[0].rows,
        [vec![text("(1,)"), Cell::Cut("é".repeat(120)), Cell::Large(100_000), text(""), text("3")]]
    );
}
