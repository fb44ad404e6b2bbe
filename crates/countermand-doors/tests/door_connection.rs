//! The raw connection to production, against real servers.

#![allow(clippy::unwrap_used)] // helpers of tests fail as tests do

use bytes::BytesMut;
use countermand_doors::postgres::scratch::{Options, SUPERUSER, ScratchServer};
use countermand_doors::postgres::target::connection::{
    Address, Connection, ConnectionError, Host, Login, Tls,
};
use countermand_doors::secret::SecretRef;
use postgres_protocol::message::frontend;
use secrecy::ExposeSecret as _;

fn tcp(server: &ScratchServer) -> Address {
    Address {
        host: Host::Tcp("127.0.0.1".to_owned()),
        port: server.address().port(),
        database: SUPERUSER.to_owned(),
        tls: Tls::Automatic,
    }
}

/// A login whose password lies in a file, as in a configuration.
fn login(directory: &tempfile::TempDir, user: &str, password: &str) -> Login {
    let file = directory.path().join(user);
    std::fs::write(&file, password).unwrap();
    Login { user: user.to_owned(), secret: SecretRef::File(file) }
}

async fn tags_of(connection: &mut Connection, sql: &str) -> Vec<u8> {
    let mut query = BytesMut::new();
    frontend::query(sql, &mut query).unwrap();
    connection.send(&query).await.unwrap();
    let mut tags = Vec::new();
    while tags.last() != Some(&b'Z') {
        tags.push(connection.receive().await.unwrap().tag());
    }
    tags
}

#[tokio::test]
async fn logs_in_by_scram_and_keeps_what_the_server_said() {
    let server = ScratchServer::start(Options::default()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let password = server.superuser().password.expose_secret().to_owned();
    let login = login(&directory, SUPERUSER, &password);
    let settings = [("application_name".to_owned(), "door test".to_owned())];
    let mut connection = Connection::open(&tcp(&server), &login, &settings).await.unwrap();
    let greeting = connection.greeting().clone();
    assert_eq!(greeting.parameter("application_name"), Some("door test"));
    assert_eq!(greeting.parameter("client_encoding"), Some("UTF8"));
    assert_eq!(tags_of(&mut connection, "select 1").await, b"TDCZ");

    let shown =
        server.psql("select pid from pg_stat_activity where application_name = 'door test'");
    assert_eq!(shown.await.unwrap().trim(), greeting.cancel.process_id().to_string());

    let cancel = async {
        let busy = "select count(*) from pg_stat_activity where query = 'select pg_sleep(60)' \
                    and state = 'active'";
        while server.psql(busy).await.unwrap().trim() != "1" {}
        greeting.cancel.cancel().await.unwrap();
    };
    let (tags, ()) = tokio::join!(tags_of(&mut connection, "select pg_sleep(60)"), cancel);
    assert_eq!(tags, b"TEZ", "the running query must end in an error");
    connection.split().1.terminate().await;
}

#[tokio::test]
async fn refuses_wrong_passwords_weak_logins_and_missing_tls() {
    let server = ScratchServer::start(Options::default()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let wrong = login(&directory, SUPERUSER, "wr0ng");
    let error = Connection::open(&tcp(&server), &wrong, &[]).await.err().expect("a wrong password");
    assert!(matches!(&error, ConnectionError::Refused { code, .. } if code == "28P01"), "{error}");
    assert!(!format!("{error} {error:?}").contains("wr0ng"));

    // A role whose stored password is md5 is asked for md5.
    let md5 = "set password_encryption = md5; create role old login password 'x'";
    server.psql(md5).await.unwrap();
    let hba = server.psql("show hba_file").await.unwrap();
    let rules = "host all old 127.0.0.1/32 md5\nhost all plain 127.0.0.1/32 password\n\
                 local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    std::fs::write(hba.trim(), rules).unwrap();
    server.psql("create role plain login password 'x'; select pg_reload_conf()").await.unwrap();
    for (user, words) in [("old", "md5"), ("plain", "without TLS")] {
        let weak = login(&directory, user, "x");
        let mut opened = Connection::open(&tcp(&server), &weak, &[]).await;
        // The reload reaches the postmaster a little later.
        while matches!(&opened, Err(ConnectionError::Refused { .. })) {
            opened = Connection::open(&tcp(&server), &weak, &[]).await;
        }
        let error = opened.err().expect("a weak login");
        assert!(matches!(error, ConnectionError::Method { .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }

    let strict = Tls::VerifyFull {
        roots: countermand_doors::postgres::target::connection::Roots::Native,
        name: None,
    };
    let address = Address { tls: strict, ..tcp(&server) };
    let error = Connection::open(&address, &wrong, &[]).await.err().expect("no TLS here");
    assert!(matches!(error, ConnectionError::Tls { .. }), "{error}");
}
