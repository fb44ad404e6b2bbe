//! A pooler between the gateway and the server: the door and the target refuse it by themselves.

use crate::stand::Stand;
use countermand_doors::postgres::scratch::psql_as;
use countermand_doors::postgres::target::connection::{
    Address, Connection, ConnectionError, Host, Login, Tls,
};
use countermand_doors::secret::SecretRef;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// PgBouncer before the server, as plainly set up as one that lets every client in; and its port.
fn pooler(server: u16, folder: &Path, mode: &str) -> Option<(Running, u16)> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let text = format!(
        "[databases]\nshop = host=127.0.0.1 port={server} dbname=shop\n[pgbouncer]\n\
         listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = scram-sha-256\nauth_file = {}\n\
         pool_mode = {mode}\nunix_socket_dir =\nignore_startup_parameters = statement_timeout\n",
        folder.join("users").display()
    );
    std::fs::write(folder.join("users"), "\"session_role\" \"session\"\n").unwrap();
    std::fs::write(folder.join("pooler.ini"), text).unwrap();
    for path in [folder.to_owned(), folder.join("users"), folder.join("pooler.ini")] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    // It refuses to run as root.
    let id = Command::new("id").arg("-u").output().unwrap();
    let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"];
    let program = program.into_iter().find(|program| Path::new(program).exists())?;
    let mut command = match id.stdout.starts_with(b"0\n") {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", program]);
            command
        }
        false => Command::new(program),
    };
    let started = command.arg(folder.join("pooler.ini"));
    let started = started.stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = Running(started.spawn().ok()?);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        if running.0.try_wait().unwrap().is_some() {
            return None;
        }
        std::thread::yield_now();
    }
    Some((running, port))
}

#[tokio::test]
async fn a_pooler_before_the_server_is_refused() {
    let stand = Stand::up().await;
    for mode in ["session", "transaction"] {
        let folder = tempfile::tempdir().unwrap();
        let Some((_running, port)) = pooler(stand.server.address().port(), folder.path(), mode)
        else {
            let words = "pgbouncer is not installed: not tried";
            assert!(std::env::var_os("COUNTERMAND_REQUIRE_ALL").is_none(), "{words}");
            return eprintln!("{words}");
        };
        let secret = folder.path().join("session");
        std::fs::write(&secret, "session").unwrap();
        let login = Login { user: "session_role".into(), secret: SecretRef::File(secret) };
        let address = Address {
            host: Host::Tcp("127.0.0.1".into()),
            port,
            database: "shop".into(),
            tls: Tls::Disable,
        };
        // It lets this login in; what refuses it is the gateway.
        assert!(Connection::open(&address, &login, &[]).await.is_ok());
        let refused = Connection::open_direct(&address, &login, &[]).await.err();
        let Some(error @ ConnectionError::Pooler { .. }) = refused else { panic!("{refused:?}") };
        assert!(error.to_string().contains("name the server's own address"), "{error}");
        let through = stand.door_to(port).await;
        let told = psql_as(stand.server.tools(), &through, "select 1").await.unwrap();
        assert!(told.stderr.contains("the target cannot be reached now"), "{}", told.stderr);
    }
    let direct = stand.door_to(stand.server.address().port()).await;
    let told = psql_as(stand.server.tools(), &direct, "select 1").await.unwrap();
    assert_eq!(told.stdout, "1\n", "{}", told.stderr);
}
