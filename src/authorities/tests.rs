use super::*;
use rcgen::{CertificateParams, KeyPair};

fn pem() -> String {
    let key = KeyPair::generate().unwrap();
    CertificateParams::default()
        .self_signed(&key)
        .unwrap()
        .pem()
}

fn told(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    std::fs::write(&path, bytes).unwrap();
    let error = read(&path).unwrap_err();
    let text = format!("{error} => {}", error.remedy().unwrap());
    text.replace(&format!("{}/", dir.path().display()), "")
}

#[test]
fn what_is_wrong_with_a_file_is_told() {
    let begin = "it must hold the authority's certificate, from -----BEGIN CERTIFICATE----- on";
    assert_eq!(told(b""), format!("ca_file ca.pem is empty => {begin}"));
    assert_eq!(told(b" \n"), format!("ca_file ca.pem is empty => {begin}"));
    let none = format!("ca_file ca.pem holds no certificate in PEM form => {begin}");
    assert_eq!(told(b"hello"), none);
    let key = KeyPair::generate().unwrap();
    assert_eq!(told(key.serialize_pem().as_bytes()), none);
    let der = CertificateParams::default().self_signed(&key).unwrap();
    assert_eq!(
        told(der.der()),
        "ca_file ca.pem holds no certificate in PEM form but something in DER form => convert it: openssl x509 -inform der -in ca.pem -out ca.pem"
    );
    let again = "get it again; openssl x509 -in ca.pem -noout -subject shows what is in it";
    let cut = pem() + &pem().replace("-----END CERTIFICATE-----", "");
    assert_eq!(
        told(cut.as_bytes()),
        format!("ca_file ca.pem is damaged: its certificate 2 is not whole PEM => {again}")
    );
    let other = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(
        told(other.as_bytes()),
        format!("ca_file ca.pem: its certificate 1 is not an X.509 certificate => {again}")
    );
}

#[test]
fn directories_and_absent_files_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(read(dir.path()), Err(CaFileError::NotAFile(_))));
    let none = read(&dir.path().join("none")).unwrap_err();
    assert!(matches!(none, CaFileError::Unreadable { .. }), "{none}");
}

#[test]
fn comments_and_several_certificates_are_fine() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    let text = format!("# our root\n{}\nsubject=next\n{}", pem(), pem());
    std::fs::write(&path, text).unwrap();
    assert_eq!(read(&path).unwrap().len(), 2);
}
