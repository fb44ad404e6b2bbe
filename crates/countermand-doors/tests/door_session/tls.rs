//! TLS at the door, which is also TLS of our own connections: they meet here.

use crate::stand::{PASSWORD, Stand};
use countermand_core::effect::Effect;
use countermand_doors::postgres::door::{Certificate, DoorConfig, DoorError, PostgresDoor};
use countermand_doors::postgres::interpret::interpret;
use countermand_doors::postgres::target::connection::{
    Address, Connection, ConnectionError, Roots, Tls,
};
use std::path::Path;

fn openssl(directory: &Path, arguments: &str) {
    let mut command = std::process::Command::new("openssl");
    let output = command.args(arguments.split(' ')).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A certificate for `localhost` and 127.0.0.1, and the root it comes from.
fn certificate(directory: &Path) -> Certificate {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(
        directory,
        &format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=root -days 2"),
    );
    openssl(directory, &format!("req {key} -keyout door.key -out door.csr -subj /CN=localhost"));
    let names = "subjectAltName=DNS:localhost,IP:127.0.0.1\n";
    std::fs::write(directory.join("names"), names).unwrap();
    let sign = "x509 -req -in door.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
                -extfile names -out door.pem";
    openssl(directory, sign);
    Certificate { chain: directory.join("door.pem"), key: directory.join("door.key") }
}

#[tokio::test]
async fn clients_that_check_the_door_come_in_bound_to_its_certificate() {
    let files = tempfile::tempdir().unwrap();
    let stand = Stand::behind(Some(certificate(files.path())), Effect::Write, interpret).await;

    let mut psql = tokio::process::Command::new(stand.server.tools().directory().join("psql"));
    let root = files.path().join("ca.pem");
    let url = format!(
        "host=localhost hostaddr=127.0.0.1 port={} user=robo dbname=shop sslmode=verify-full \
         sslrootcert={} channel_binding=require",
        stand.door.port(),
        root.display()
    );
    psql.args(["-X", "-At", "-c", "select count(*) from orders", &url]).env("PGPASSWORD", PASSWORD);
    let output = psql.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "1000\n", "{}", String::from_utf8_lossy(&output.stderr));

    let (address, login) = stand.raw();
    let tls = |roots, name: Option<&str>| Address {
        tls: Tls::VerifyFull { roots, name: name.map(str::to_owned) },
        ..address.clone()
    };
    let ours = Roots::File(root.clone());
    assert!(Connection::open(&tls(ours.clone(), None), &login, &[]).await.is_ok());
    for wrong in [
        tls(ours, Some("elsewhere.example")),
        tls(Roots::File(files.path().join("door.pem")), None),
    ] {
        let error = Connection::open(&wrong, &login, &[]).await.err().expect("a wrong certificate");
        assert!(matches!(error, ConnectionError::Tls { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_door_to_the_world_needs_a_certificate() {
    let stand = Stand::up().await;
    let config = DoorConfig {
        listen: "0.0.0.0:0".parse().unwrap(),
        tls: None,
        max_sessions: 1,
        targets: Default::default(),
    };
    let refused = PostgresDoor::bind(config, stand.gate.clone()).await.err();
    assert!(matches!(refused, Some(DoorError::Bare(_))));
}
