use std::collections::BTreeSet;

use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_variables(variables(pairs))
}

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

#[test]
fn a_node_for_trying_out_is_seen_and_unlimited_and_none_of_production() {
    let dev = |pairs: &[(&str, &str)]| Config::read(variables(pairs), Vec::new(), true);
    let config = dev(&[("LARAVEL_API_SECRET", "s"), ("WEBHOOK_ALLOW_PRIVATE", "true")]).unwrap();
    assert!(config.auth == Auth::Dev && config.host.is_unspecified() && config.admin_host.is_loopback());
    assert_eq!(config.log_format, LogFormat::Text);
    for config in [config, read(&[]).unwrap()] {
        let (limits, rings) = (config.limits, config.retention);
        assert_eq!((limits.events_per_minute, limits.presence_ids_per_minute, rings.rings_per_minute), (0, 0, 0));
        assert_eq!((rings.ring_budget.per_callee, rings.ring_budget.per_caller), (0, 0));
    }
    assert_eq!(dev(&[("RINGS_PER_CALLEE_PER_MINUTE", "6")]).unwrap().retention.rings_per_minute, 6);
    assert_eq!(read(&[("AUTH", "insecure")]).unwrap().retention.rings_per_minute, 6, "as in production");
    for (name, value) in [
        ("LARAVEL_API_URL", "https://l.test"),
        ("REDIS_URL", "redis://r"),
        ("NODE_ADDRESS", "http://n"),
        ("NODE_SECRET", "s"),
        ("TRUSTED_PROXIES", "10.0.0.0/8"),
        ("NODE_ENV", "production"),
        ("NODE_ENV", "staging"),
    ] {
        let error = dev(&[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("--dev"), "{error}");
    }
}

#[test]
fn a_comma_makes_two_secrets_of_none_by_accident() {
    let with = |secret: &str| read(&[("AUTH", "insecure"), ("LARAVEL_API_SECRET", secret)]);
    assert_eq!(with("short").unwrap().api_secrets.len(), 1);
    let two = "0123456789abcdef, fedcba9876543210";
    let config = with(two).unwrap();
    assert_eq!(config.api_secrets.len(), 2);
    assert!(config.warnings().join("\n").contains("two secrets"), "{:?}", config.warnings());
    for secret in [
        "hush,hush2",
        "0123456789abcdef,x",
        ",0123456789abcdef",
        "0123456789abcdef,",
        "hu\tsh",
        &format!("{two},{two}"),
    ] {
        let error = with(secret).unwrap_err().to_string();
        assert!(error.contains("LARAVEL_API_SECRET") && !error.contains("hu") && !error.contains("0123"), "{error}");
    }
}

#[test]
fn what_cannot_work_is_found_without_asking_anybody() {
    for (name, value) in [
        ("REDIS_URL", "r:6379"),
        ("LARAVEL_API_URL", "https://l.test?x"),
        ("NODE_ADDRESS", "n:3001"),
        ("ALLOWED_ORIGINS", "https://a.test/app"),
        ("LOG_LEVEL", "loud"),
        ("ADMIN_PORT", "3001"),
        ("API_PORT", "3001"),
        ("API_PORT", "9001"),
        ("API_PORT", "api"),
    ] {
        let auth = if name == "LARAVEL_API_URL" { "laravel" } else { "insecure" };
        assert!(read(&[("AUTH", auth), (name, value)]).unwrap_err().to_string().contains(name), "{name}");
    }
    let config = read(&[("AUTH", "insecure"), ("ALLOWED_ORIGINS", "https://A.test/"), ("LOG_LEVEL", "Warning")]);
    let config = config.unwrap();
    assert_eq!((config.allowed_origins, config.log_level.as_str()), (vec!["https://a.test".to_owned()], "warn"));
}

#[test]
fn nothing_configured_is_local_development_on_loopback() {
    let config = read(&[]).unwrap();
    assert_eq!(config.auth, Auth::LocalDevelopment);
    assert!(config.host.is_loopback());
    assert_eq!((config.port, config.api_port, config.admin_port), (3001, None, 9001));
    assert_eq!(read(&[("API_PORT", "3002")]).unwrap().api_port, Some(3002));
    let linked = read(&[("API_PORT", "tcp://10.0.0.1:80"), ("ADMIN_PORT", "tcp://10.0.0.1:80")]).unwrap();
    assert_eq!((linked.api_port, linked.admin_port), (None, 9001), "a service of that name");
}

/// Nobody is named to whoever reaches the admin port unless that was said.
#[test]
fn the_inspector_is_on_by_itself_for_trying_out_only() {
    let served = [("LARAVEL_API_URL", "https://l.test")];
    let insecure = [("AUTH", "insecure")];
    assert!(read(&[]).unwrap().inspector && !read(&[("INSPECTOR", "off")]).unwrap().inspector);
    for pairs in [served, insecure] {
        assert!(!read(&pairs).unwrap().inspector);
        // An `on` without quotes is `true` to YAML.
        for on in ["on", "true"] {
            let config = read(&[&pairs[..], &[("INSPECTOR", on)]].concat()).unwrap();
            assert!(config.inspector && config.warnings().join("\n").contains("INSPECTOR"));
        }
    }
    assert!(read(&[("INSPECTOR", "yes")]).is_err());
    assert!(!read(&[("VIDEO_SWITCH", "false")]).unwrap().video_switch);
}

#[test]
fn a_lost_laravel_url_does_not_open_a_production_host() {
    for (name, value) in [
        ("LARAVEL_API_SECRET", "s"),
        ("REDIS_URL", "redis://r"),
        ("ALLOWED_ORIGINS", "https://a"),
        ("NODE_ADDRESS", "http://n"),
        ("NODE_SECRET", "s"),
        ("TRUSTED_PROXIES", "10.0.0.0/8"),
        ("WEBHOOK_URL", "https://w"),
        ("NODE_ENV", "production"),
        ("NODE_ENV", "Production"),
        ("NODE_ENV", "prod"),
        ("NODE_ENV", "staging"),
        ("LARAVEL_API_URI", "https://l"),
        ("LARAVEL_URL", "https://l"),
        ("laravel_api_url", "https://l"),
        ("REDIS_URI", "redis://r"),
        ("NODE_ENVS", "production"),
        ("HOST", "0.0.0.0"),
    ] {
        assert!(read(&[(name, value)]).unwrap_err().to_string().contains(name), "{name}");
    }
}

#[test]
fn what_is_for_other_nodes_needs_the_redis_that_they_share() {
    for (name, value) in [("NODE_ADDRESS", "http://10.0.0.7:3001"), ("NODE_SECRET", "s")] {
        let with = |url: &str| read(&[("LARAVEL_API_URL", "https://l.test"), (name, value), ("REDIS_URL", url)]);
        for none in ["", " "] {
            let error = with(none).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("REDIS_URL"), "{error}");
        }
        with("redis://r").unwrap();
        read(&[("AUTH", "insecure"), (name, value)]).unwrap();
    }
}

#[test]
fn all_errors_are_told_at_once() {
    let error = read(&[("RING_TIMEOUT_SECS", "4"), ("PORT", "x"), ("AUTH", "maybe")]).unwrap_err();
    assert_eq!(error.errors.len(), 3, "{error}");
}

#[test]
fn laravel_url_in_every_spelling() {
    for url in ["https://l.test", "https://l.test/", "https://l.test/api/v1", "https://l.test/api/v1/"] {
        let config = read(&[("LARAVEL_API_URL", url)]).unwrap();
        assert_eq!(config.auth, Auth::Laravel { url: "https://l.test".into() });
    }
}

#[test]
fn secrets_do_not_show() {
    let config =
        read(&[("AUTH", "insecure"), ("LARAVEL_API_SECRET", "hush-hush-hush-hush,hush2-hush2-hush2")]).unwrap();
    assert_eq!(config.api_secrets.len(), 2);
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn webhooks_need_a_secret_and_a_public_address() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let with = |url: &str, secret: &str, private: &str| {
        let names = ["AUTH", "WEBHOOK_URL", "WEBHOOK_SECRET", "WEBHOOK_ALLOW_PRIVATE"];
        let values = ["insecure", url, secret, private];
        read(&names.into_iter().zip(values).collect::<Vec<_>>())
    };
    assert!(read(&[]).unwrap().webhook.is_none());
    let config = with("https://l.test/hooks", secret, "").unwrap();
    assert!(config.policy.webhooks && !format!("{config:?}").contains("MfKQ"));
    assert_eq!(with("https://l.test", &format!("{secret},{secret}"), "").unwrap().webhook.unwrap().secrets.len(), 2);
    let refused = |url: &str, secret: &str| with(url, secret, "").unwrap_err().to_string();
    assert!(refused("https://l.test", "").contains("WEBHOOK_SECRET"));
    assert!(refused("https://l.test", "whsec_AA").contains("WEBHOOK_SECRET"));
    assert!(refused("", secret).contains("WEBHOOK_URL"));
    assert!(refused("http://l.test", secret).contains("WEBHOOK_ALLOW_PRIVATE"));
    assert!(refused("https://[::1]/", secret).contains("private"));
    assert!(refused("https://169.254.169.254/", secret).contains("private"));
    with("http://127.0.0.1:8000/hooks", secret, "true").unwrap();
}

/// Whoever compares two nodes by `--print-config` saw `***` for the address of Redis.
#[test]
fn what_is_compared_is_shown_without_passwords() {
    let config = read(&[
        ("LARAVEL_API_URL", "https://u:hush@l.test/api/v1"),
        ("REDIS_URL", "redis://signaling:hush@10.0.0.5:6379"),
        ("LARAVEL_API_SECRET", "hush"),
        ("WEBHOOK_URL", "https://l.test/hooks/hush"),
        ("WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ]);
    let shown = config.unwrap().shown;
    assert_eq!(shown["WEBHOOK_URL"], "https://l.test/***");
    assert_eq!(shown["REDIS_URL"], "redis://signaling:***@10.0.0.5:6379");
    assert_eq!(shown["LARAVEL_API_URL"], "https://u:***@l.test/api/v1");
    assert!(!format!("{shown:?}").contains("hush"));
}

#[test]
fn hashed_users_need_a_key() {
    let with = |key: &str| read(&[("LOG_USERS", "hashed"), ("LOG_USERS_KEY", key)]);
    assert!(with("").unwrap_err().to_string().contains("LOG_USERS_KEY"));
    assert!(with("too-short").unwrap_err().to_string().contains("LOG_USERS_KEY"));
    let config = with("long-enough-to-be-one").unwrap();
    assert!(!format!("{config:?}").contains("long-enough"));
    assert_eq!(config.shown["LOG_USERS_KEY"], "***");
}

#[test]
fn traces_are_off_until_they_have_an_address() {
    let with = |endpoint: &str, headers: &str, ratio: &str| {
        let names = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_TRACES_SAMPLER_ARG"];
        read(&names.into_iter().zip([endpoint, headers, ratio]).collect::<Vec<_>>())
    };
    assert!(read(&[]).unwrap().traces.is_none());
    assert!(with("", "a=b", "").unwrap().traces.is_none());
    let config = with("https://c.test:4318/", "authorization=Basic%20aHVzaA==, x-scope=1", "0.25").unwrap();
    assert!(!format!("{config:?}").contains("aHVzaA") && config.shown["OTEL_EXPORTER_OTLP_HEADERS"] == "***");
    let settings = config.traces.unwrap();
    assert_eq!(settings.ratio, 0.25);
    assert_eq!(settings.headers[0], ("authorization".into(), "Basic aHVzaA==".into()));
    assert_eq!(settings.headers[1], ("x-scope".into(), "1".into()));
    for (endpoint, headers, ratio) in [
        ("collector:4318", "", ""),
        ("https://user:hush@c.test", "", ""),
        ("https://c.test", "hush", ""),
        ("https://c.test", "a=hush%0Ahush", ""),
        ("https://c.test", "", "1.5"),
        ("https://c.test", "", "NaN"),
    ] {
        let error = with(endpoint, headers, ratio).unwrap_err().to_string();
        assert!(error.contains("OTEL_") && !error.contains("hush"), "{error}");
    }
}

#[test]
fn every_option_is_read() {
    let config = read(&[]).unwrap();
    let read: BTreeSet<&str> = config.shown.keys().copied().collect();
    let listed: BTreeSet<&str> = OPTIONS.iter().map(|option| option.name).collect();
    assert_eq!(read, listed);
}

#[test]
fn a_probe_asks_where_the_node_listens() {
    let asked = |pairs: &[(&str, &str)]| Config::admin_address(variables(pairs), Vec::new());
    for (host, port, address) in [
        ("", "", "127.0.0.1:9001"),
        ("0.0.0.0", "9100", "127.0.0.1:9100"),
        ("::", "9100", "127.0.0.1:9100"),
        ("10.0.0.7", "", "10.0.0.7:9001"),
        ("::1", "9100", "[::1]:9100"),
    ] {
        let found = asked(&[("HOST", host), ("ADMIN_PORT", port), ("REDIS_URL", "what a node is refused for")]);
        assert_eq!(found.unwrap().to_string(), address);
    }
    for port in ["0", "x", "70000"] {
        assert!(asked(&[("ADMIN_PORT", port)]).unwrap_err().to_string().contains("ADMIN_PORT"));
    }
}
