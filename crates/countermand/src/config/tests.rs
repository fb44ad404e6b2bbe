//! What is refused, with which words, at which line.

use super::*;
use countermand_doors::postgres::target::connection::{Host, Tls};

const GOOD: &str = r#"installation = "acme"
state = "state"
restore_points = "/backups"

[door]
listen = "127.0.0.1:6432"

[people.alice]
keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti a"]
[people.bob]
keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB1/dIClVjARo8tQ7USN7Vtc9DONVX+PfBhlMdDFBIYX b"]

[reviewers.bob]
groups = ["dba"]
[sponsors.alice]
targets = ["prod"]
effects = ["read", "destroy"]

[targets.prod]
kind = "postgres"
environment = "production"
host = "db.internal"
database = "shop"
tags = ["critical"]
rehearsal = "staging"
session = { user = "session", secret = { file = "secrets/session" } }
executor = { user = "executor", secret = { command = ["pass", "executor"] } }
notify = { command = ["notify/page", "dba"] }
[targets.prod.watch.orders]
at_least = 1
sql = "SELECT count(*) FROM shop.orders"
[targets.prod.object_tags]
"audit.*" = ["critical"]

[targets.staging]
kind = "postgres"
environment = "staging"
host = "/run/postgresql"
database = "shop"
rehearsal = "none"
limits = { lock = "500ms" }
session = { user = "session", secret = { env = "SESSION" } }
executor = { user = "executor", secret = { env = "EXECUTOR" } }
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("/etc/countermand/countermand.toml"), text)
}

#[test]
fn a_configuration_means_what_it_says() {
    let config = parse(GOOD).unwrap();
    let humans = &config.installation.humans;
    let (alice, bob) = (&humans[&"alice".parse().unwrap()], &humans[&"bob".parse().unwrap()]);
    assert!(!alice.reviewer && alice.sponsors.is_some());
    assert!(bob.reviewer && bob.sponsors.is_none() && bob.groups.len() == 1);
    let prod = &config.installation.targets[&"prod".parse().unwrap()];
    assert!(prod.is_production() && prod.partner == Some("staging".parse().unwrap()));
    let orders = &prod.watch[&"orders".parse().unwrap()];
    assert_eq!((orders.lasts.as_secs(), orders.every.as_secs()), (300, 10));
    let told = prod.notify.as_ref().unwrap();
    assert_eq!(told[..], ["/etc/countermand/notify/page", "dba"]);
    let prod = &config.targets[&"prod".parse().unwrap()];
    assert_eq!(prod.address.tls, Tls::Automatic);
    assert_eq!(prod.session.secret, SecretRef::File("/etc/countermand/secrets/session".into()));
    let staging = &config.targets[&"staging".parse().unwrap()];
    assert_eq!(staging.address.host, Host::Unix("/run/postgresql".into()));
    assert_eq!(staging.limits.lock.as_millis(), 500);
    assert_eq!(config.socket(), Path::new("/etc/countermand/state/countermand.sock"));
}

/// Every line: what is written, what is written instead, the line of the fault (0: that of the
/// replaced text), and a part of its words.
const REFUSED: &[(&str, &str, &str)] = &[
    ("state = \"state\"", "state = 3", "invalid type"),
    ("state = \"state\"", "stat = \"state\"", "unknown field `stat`"),
    ("installation = \"acme\"", "installation = \"Acme Inc\"", "is not a name"),
    ("127.0.0.1:6432", "0.0.0.0:6432", "`tls = {"),
    (
        "keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM",
        "keys = [\"ssh-ed25519 BBBB",
        "not an OpenSSH public key",
    ),
    ("[reviewers.bob]", "[reviewers.carol]", "there is no `[people.carol]`"),
    ("targets = [\"prod\"]", "targets = [\"shop\"]", "there is no `[targets.shop]`"),
    ("\"destroy\"", "\"destry\"", "unknown variant `destry`"),
    ("kind = \"postgres\"", "kind = \"mysql\"", "unknown variant `mysql`"),
    ("rehearsal = \"staging\"", "rehearsal = \"stage\"", "there is no `[targets.stage]`"),
    ("rehearsal = \"staging\"", "rehearsal = \"prod\"", "is production"),
    ("\"audit.*\"", "\"a*t.*\"", "is not a pattern"),
    ("lock = \"500ms\"", "lock = \"0s\"", "longer than nothing"),
    (
        "user = \"executor\", secret = { command",
        "user = \"session\", secret = { command",
        "two roles",
    ),
    ("tags = [\"critical\"]", "disposable = true", "production is not disposable"),
    ("at_least = 1", "", "say what the answer must be"),
    ("at_least = 1", "at_least = 1\nequals = \"1\"", "say what the answer must be"),
    ("at_least = 1", "at_least = 2\nat_most = 1", "no number is"),
    ("at_least = 1", "at_least = 1\nevery = \"0s\"", "every second at most"),
    ("at_least = 1", "at_least = 1\nlasts = \"25h\"", "24 hours at most"),
    ("at_least = 1", "at_least = 1\nhttp = \"http://x\"", "ask one of"),
    (
        "[targets.prod.object_tags]",
        "[targets.prod.backups]\nwithin = \"1h\"\n[targets.prod.object_tags]",
        "one of `sql`",
    ),
    (
        "[targets.prod.object_tags]",
        "[targets.prod.backups]\nwithin = \"0s\"\nnewest_in = \"/b\"\n[targets.prod.object_tags]",
        "asked after every second",
    ),
    (
        "[targets.prod.object_tags]",
        "[targets.prod.backups]\nhttp = \"https://u:p@x/\"\nwithin = \"1h\"\n[targets.prod.object_tags]",
        "no user or password",
    ),
    (
        "[targets.prod.object_tags]",
        "[targets.prod.watch.web]\nhttp = \"ftp://x\"\n[targets.prod.object_tags]",
        "write a whole URL",
    ),
    (
        "[targets.prod.object_tags]",
        "[targets.prod.watch.web]\nhttp = \"https:///x\"\n[targets.prod.object_tags]",
        "write a whole URL",
    ),
    ("watch.orders]", "watch.\"Or ders\"]", "is not a name"),
    ("SELECT count(*) FROM shop.orders", " ", "`sql` is empty"),
    ("\"notify/page\"", "\"page\"", "by its path"),
    ("command = [\"notify/page\", \"dba\"]", "command = []", "by its path"),
    ("tags = [\"critical\"]", "tls_name = \"x\"", "verify-full"),
];

#[test]
fn every_fault_has_a_line_and_a_remedy() {
    for (good, bad, words) in REFUSED {
        let at = GOOD.find(good).unwrap_or_else(|| panic!("{good}"));
        let line = 1 + GOOD[..at].matches('\n').count();
        let error = parse(&GOOD.replacen(good, bad, 1)).unwrap_err();
        let ConfigError::Fault { line: found, message, .. } = &error else { panic!("{error}") };
        assert!(message.contains(words), "{bad}: {message}");
        assert!(found.abs_diff(line) <= 1, "{bad}: line {found}, not {line}: {message}");
        let shown = format!("/etc/countermand/countermand.toml:{found}: ");
        assert!(error.to_string().starts_with(&shown), "{error}");
    }
}

#[test]
fn what_is_missing_is_asked_for() {
    for (line, words) in [
        ("rehearsal = \"none\"\n", "rehearsal = \"none\""),
        ("restore_points = \"/backups\"\n", "missing field `restore_points`"),
        ("database = \"shop\"\n", "missing field `database`"),
    ] {
        let error = parse(&GOOD.replacen(line, "", 1)).unwrap_err();
        assert!(error.to_string().contains(words), "{line}: {error}");
    }
}

#[test]
fn a_written_secret_is_refused_and_not_repeated() {
    let reference = "secret = { env = \"SESSION\" }";
    for secret in [
        "secret = \"hunter2\"",
        "secret = 31337",
        "secret = { password = \"hunter2\" }",
        "secret = { env = \"hunter2\" }",
        "secret = { file = \"a\", env = \"HUNTER\" }",
        "secret = { command = \"hunter2\" }",
        "secret = [\"hunter2\"]",
        "password = \"hunter2\"",
    ] {
        let error = parse(&GOOD.replacen(reference, secret, 1)).unwrap_err().to_string();
        assert!(error.contains("file = \"…\""), "{secret}: {error}");
        assert!(!error.contains("hunter2") && !error.contains("31337"), "{secret}: {error}");
    }
    // Nor does a mistake elsewhere on the line.
    let broken = GOOD.replacen(reference, "secret = { env = \"hunter2", 1);
    assert!(!parse(&broken).unwrap_err().to_string().contains("hunter2"));
}

#[test]
fn one_key_is_one_human() {
    let line = GOOD.lines().nth(8).unwrap();
    let other = GOOD.lines().nth(10).unwrap();
    let error = parse(&GOOD.replace(other, line)).unwrap_err().to_string();
    assert!(error.contains("the same key"), "{error}");
}

/// At a second address it would sign for whoever serves that one.
#[test]
fn a_passkey_stands_here_once() {
    let passkey = include_str!("../commands/ledger/verify/passkey.txt").trim();
    let elsewhere = passkey.replace("http://localhost:6480", "http://localhost:3000");
    assert_ne!(elsewhere, passkey);
    let keys = |lines: &[&str]| {
        let line = GOOD.lines().nth(8).unwrap();
        let lines: Vec<String> = lines.iter().map(|line| format!("{line:?}")).collect();
        parse(&GOOD.replace(line, &format!("keys = [{}]", lines.join(", "))))
    };
    assert!(keys(&[passkey]).is_ok());
    let error = keys(&[passkey, &elsewhere]).unwrap_err().to_string();
    assert!(error.contains("stands here twice"), "{error}");
}

#[test]
fn a_partner_that_is_the_same_database_is_refused() {
    let same = GOOD.replace("/run/postgresql", "db.internal");
    let error = parse(&same).unwrap_err().to_string();
    assert!(error.contains("the same database"), "{error}");
}

#[test]
fn alone_the_one_human_confirms() {
    let start = GOOD.find("[people.bob]").unwrap();
    let end = GOOD.find("[reviewers.bob]").unwrap();
    let solo =
        GOOD.replace(&GOOD[start..end], "").replace("[reviewers.bob]\ngroups = [\"dba\"]\n", "");
    let config = parse(&solo).unwrap();
    assert!(config.installation.humans.len() == 1);
    assert!(config.installation.humans.values().all(|human| human.reviewer));
}

#[test]
fn metrics_leave_the_machine_only_where_that_is_said() {
    let with = |said: &str| parse(&format!("{GOOD}\n[metrics]\n{said}\n"));
    assert_eq!(parse(GOOD).unwrap().metrics, None);
    assert_eq!(with("").unwrap().metrics.unwrap().to_string(), "127.0.0.1:6490");
    for address in ["0.0.0.0:6490", "[::]:6490", "10.0.0.7:6490"] {
        let listen = format!("listen = \"{address}\"");
        let error = with(&listen).unwrap_err().to_string();
        assert!(error.contains("anyone_may_read"), "{error}");
        let open = with(&format!("{listen}\nanyone_may_read = true")).unwrap();
        assert_eq!(open.metrics.unwrap().to_string(), address);
    }
}

#[test]
fn a_console_off_the_machine_needs_tls_and_its_name() {
    let with = |said: &str| parse(&format!("{GOOD}\n[console]\n{said}\n"));
    let local = with("").unwrap().console.unwrap();
    assert_eq!(local.listen.to_string(), "127.0.0.1:6480");
    assert_eq!(parse(GOOD).unwrap().console, None);
    let tls = "tls = { certificate = \"a.pem\", key = \"b.pem\" }";
    let whole = format!("listen = \"0.0.0.0:443\"\n{tls}\nname = \"gate.example.com\"");
    assert_eq!(with(&whole).unwrap().console.unwrap().name.as_deref(), Some("gate.example.com"));
    for (said, why) in [
        ("listen = \"0.0.0.0:443\"\nname = \"gate.example.com\"", "in the open"),
        (&format!("listen = \"0.0.0.0:443\"\n{tls}"), "add `name"),
        ("name = \"https://gate\"", "the name alone"),
        ("name = \"\"", "the name alone"),
        ("port = 1", "unknown field"),
    ] {
        let error = with(said).unwrap_err().to_string();
        assert!(error.contains(why), "{said}: {error}");
    }
}
