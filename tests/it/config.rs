#[test]
fn probe() {
    let c = firstlight::config::check(
        "listen: [{address: 127.0.0.1:8080}]\nbackends:\n  a: {endpoint: https://x.y, auth: {api_key: {env: K}}}\nmodels: {gpt-4o: }\napps:\n  x: {api_keys: [{sha256: 090d1548c9d65f413a1a2c828a0bee3a7ae02d2137caf51e6029e6c3cb1f1fa4, name: 2026-11}]}\n",
    );
    println!("{c:#?}");
    c.unwrap();
}
