use std::fs;

use expect_test::{Expect, expect};
use tempfile::TempDir;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use super::*;
use crate::worker::uploads;

fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn sha256(bytes: &[u8]) -> Digest {
    uploads::digest(bytes).unwrap().1
}

struct Place {
    folder: TempDir,
    paths: RunPaths,
    configured: BTreeMap<String, PathBuf>,
    client: reqwest::Client,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let paths = RunPaths::local(&folder.path().join("run"), &folder.path().join("cache"));
    // No certificates are needed, and machines without any must pass too.
    let client = reqwest::Client::builder().tls_certs_only([]).no_proxy().build().unwrap();
    Place { folder, paths, configured: BTreeMap::new(), client }
}

impl Place {
    async fn find(&self, tool: &Tool) -> Result<FoundTool, ToolError> {
        Tools { paths: &self.paths, configured: &self.configured, client: &self.client }.find(tool).await
    }

    fn cached(&self) -> PathBuf {
        self.folder.path().join("cache/binaries/terraform/1.2.3/terraform")
    }

    /// Every name in the cache: nothing but whole binaries may ever be seen there.
    fn names(&self) -> Vec<String> {
        let folder = self.cached().parent().unwrap().to_owned();
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[track_caller]
    fn check(&self, found: Result<FoundTool, ToolError>, expected: &Expect) {
        let text = match found {
            Ok(found) => found.line(&tool(None, None)),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text.replace(&self.folder.path().display().to_string(), "FOLDER"));
    }
}

fn tool(url: Option<String>, sha256: Option<Digest>) -> Tool {
    Tool { name: "terraform".to_owned(), version: "1.2.3".to_owned(), url, sha256 }
}

async fn serve(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

#[tokio::test]
async fn a_download_enters_the_cache_once_and_is_used_from_there() {
    let zip = zip_of(&[("LICENSE.txt", b"text"), ("terraform", b"#!binary")]);
    let server = serve(ResponseTemplate::new(200).set_body_bytes(zip.clone())).await;
    let place = place();
    let wanted = tool(Some(server.uri()), Some(sha256(&zip)));
    place.check(
        place.find(&wanted).await,
        &expect![[r"
        Using Terraform 1.2.3 (downloaded, 1 MB)
    "]],
    );
    place.check(
        place.find(&wanted).await,
        &expect![[r"
        Using Terraform 1.2.3 (from cache)
    "]],
    );
    assert_eq!(server.received_requests().await.unwrap().len(), 1);
    assert_eq!(fs::read(place.cached()).unwrap(), b"#!binary");
    assert_eq!(fs::metadata(place.cached()).unwrap().permissions().mode() & 0o777, 0o555);
    assert_eq!(place.names(), ["terraform"]);
}

#[tokio::test]
async fn workers_that_download_at_the_same_time_all_find_a_whole_binary() {
    let zip = zip_of(&[("terraform", &vec![7; 1 << 20])]);
    let server = serve(ResponseTemplate::new(200).set_body_bytes(zip.clone())).await;
    let place = place();
    let wanted = tool(Some(server.uri()), Some(sha256(&zip)));
    let all = futures_util::future::join_all((0..8).map(|_| place.find(&wanted))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(fs::read(place.cached()).unwrap(), vec![7; 1 << 20]);
    assert_eq!(place.names(), ["terraform"]);
}

#[tokio::test]
async fn a_wrong_digest_leaves_nothing_behind() {
    let zip = zip_of(&[("terraform", b"#!other")]);
    let server = serve(ResponseTemplate::new(200).set_body_bytes(zip.clone())).await;
    let place = place();
    let error = place.find(&tool(Some(server.uri()), Some(sha256(b"x")))).await.unwrap_err().to_string();
    let told = format!("its digest is {}, Scalr says {}", sha256(&zip), sha256(b"x"));
    assert!(error.contains(&told), "{error}");
    assert_eq!(place.names(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_no_tool_is_said() {
    let checks = [
        (
            zip_of(&[("tofu", b"#!")]),
            &expect![
                "terraform 1.2.3 is not to be had: not in FOLDER/cache/binaries/terraform/1.2.3/terraform, the download from SERVER/t.zip failed: no terraform in the zip: specified file not found in archive, and no path is configured for terraform"
            ],
        ),
        (
            b"no zip".to_vec(),
            &expect![
                "terraform 1.2.3 is not to be had: not in FOLDER/cache/binaries/terraform/1.2.3/terraform, the download from SERVER/t.zip failed: invalid Zip archive: Could not find EOCD, and no path is configured for terraform"
            ],
        ),
    ];
    for (body, expected) in checks {
        let server = serve(ResponseTemplate::new(200).set_body_bytes(body.clone())).await;
        let place = place();
        let url = format!("{}/t.zip?signature=secret", server.uri());
        let error = place.find(&tool(Some(url), Some(sha256(&body)))).await.unwrap_err().to_string();
        let error = error.replace(&server.uri(), "SERVER");
        expected.assert_eq(&error.replace(&place.folder.path().display().to_string(), "FOLDER"));
        assert_eq!(place.names(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_answer_that_is_no_file_is_said() {
    let server = serve(ResponseTemplate::new(404)).await;
    let place = place();
    let error = place.find(&tool(Some(server.uri()), Some(sha256(b"")))).await.unwrap_err().to_string();
    assert!(error.contains("failed: status 404 Not Found, "), "{error}");
}

#[tokio::test]
async fn a_download_that_goes_in_circles_is_given_up_and_said() {
    let server = MockServer::start().await;
    let url = url::Url::parse(&server.uri()).unwrap();
    let client = crate::scalr::connect::download_client(&url, None).unwrap();
    let place = Place { client, ..place() };
    // To itself, and to ever new places.
    for (round, elsewhere) in [("/t.zip", "/t.zip"), ("/next", "next/next")] {
        server.reset().await;
        let answer = ResponseTemplate::new(302).insert_header("location", elsewhere);
        Mock::given(any()).respond_with(answer).mount(&server).await;
        let url = format!("{}{round}?signature=secret", server.uri());
        let error = place.find(&tool(Some(url), Some(sha256(b"")))).await.unwrap_err();
        assert!(matches!(error, ToolError::Nowhere { .. }), "not tried again: {error}");
        let line = error.to_string();
        let said =
            format!("the download from {}{round} failed: it is redirected again and again, ", server.uri());
        assert!(line.contains(&said) && !line.contains("secret"), "{line}");
        assert_eq!(server.received_requests().await.unwrap().len(), 6);
    }
}

#[tokio::test]
async fn without_a_download_the_configured_path_is_used() {
    let mut place = place();
    place.check(place.find(&tool(None, None)).await, &expect!["terraform 1.2.3 is not to be had: not in FOLDER/cache/binaries/terraform/1.2.3/terraform, Scalr names no URL for it, and no path is configured for terraform"]);
    let path = place.folder.path().join("my-terraform");
    place.configured.insert("terraform".to_owned(), path.clone());
    place.check(place.find(&tool(Some("http://x".into()), None)).await, &expect!["terraform 1.2.3 is not to be had: not in FOLDER/cache/binaries/terraform/1.2.3/terraform, Scalr names a URL without a digest, and the configured FOLDER/my-terraform is no executable file"]);
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    place.check(
        place.find(&tool(None, None)).await,
        &expect![[r"
        Using Terraform installed at FOLDER/my-terraform
    "]],
    );
}

#[tokio::test]
async fn names_that_could_be_paths_are_refused() {
    let place = place();
    for (name, version) in
        [("terraform", "../../x"), ("terraform", ""), ("terraform", ".hidden"), ("sh", "1.0")]
    {
        let tool = Tool { name: name.to_owned(), version: version.to_owned(), url: None, sha256: None };
        assert!(matches!(place.find(&tool).await, Err(ToolError::Unknown { .. })), "{name} {version}");
    }
    let tool = Tool { name: "sh".to_owned(), version: "1/2".to_owned(), url: None, sha256: None };
    place.check(place.find(&tool).await, &expect![[r#"tool "sh" "1/2": the name must be terraform or tofu, the version letters, digits, '.', '-', '+'"#]]);
}
