//! The invented people of the sample store, the same for a seed.

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same on every machine. For samples only.
pub struct SplitMix64(u64);

impl SplitMix64 {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; the bias does not matter here.
    pub fn below(&mut self, n: u64) -> u64 {
        self.draw() % n.max(1)
    }

    pub fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

/// One enterprise's app with rows in the sample store.
pub struct SampleApp {
    /// The app's id, `apps/<id>`.
    pub app: &'static str,
    /// Its controller's id, `controllers/<id>`.
    pub controller: &'static str,
    /// The name people know it by.
    pub name: &'static str,
    /// The value of the store's tenant column.
    pub tenant: &'static str,
    /// What the ids of its own users begin with.
    pub prefix: &'static str,
    /// User ids that must be among its users.
    pub users: &'static [&'static str],
    /// Channels that must be among its channels; the first user is in all of them.
    pub channels: &'static [&'static str],
    /// A device of the first user's.
    pub device: Option<&'static str>,
}

/// `u_8839201` is a user of three of them: three different people.
pub const APPS: &[SampleApp] = &[
    SampleApp {
        app: "xingyu-live",
        controller: "xingyu",
        name: "星语直播",
        tenant: "sdk-1001-xingyu",
        prefix: "u_88",
        users: &["u_8839201"],
        channels: &["room-55120", "room-55871"],
        device: Some("device-7f31c2"),
    },
    SampleApp {
        app: "xiaolu-class",
        controller: "xiaolu",
        name: "小鹿课堂",
        tenant: "sdk-1002-xiaolu",
        prefix: "DX-2",
        users: &["DX-204417", "u_8839201"],
        channels: &["room-55120"],
        device: None,
    },
    SampleApp {
        app: "leting-fm",
        controller: "leting",
        name: "乐听FM",
        tenant: "sdk-1003-leting",
        prefix: "letingfm-6",
        users: &["letingfm-660318", "u_8839201"],
        channels: &["88123"],
        device: Some("device-7f31c2"),
    },
    SampleApp {
        app: "yunting-class",
        controller: "yunting",
        name: "云听课堂",
        tenant: "sdk-1004-yunting",
        prefix: "YT-9",
        users: &["YT-900127"],
        channels: &["88123"],
        device: None,
    },
];

/// PPIO's own console, of which PPIO is the controller: `apps/ppio-console`.
pub const HOUSE_TENANT: &str = "ppio-console";

/// Rows of one table on their way into it, as one JSON array of arrays.
pub struct Rows {
    pub insert: &'static str,
    json: String,
    pub count: u64,
}

impl Rows {
    /// `insert` takes one bound JSON array of arrays.
    pub fn new(insert: &'static str) -> Self {
        Self { insert, json: String::from("["), count: 0 }
    }

    /// Adds a row; each cell is JSON already.
    pub fn push(&mut self, cells: &[&str]) {
        self.json.push_str(if self.count == 0 { "[" } else { ",[" });
        for (i, cell) in cells.iter().enumerate() {
            if i > 0 {
                self.json.push(',');
            }
            self.json.push_str(cell);
        }
        self.json.push(']');
        self.count += 1;
    }

    pub fn into_json(mut self) -> String {
        self.json.push(']');
        self.json
    }
}

/// A JSON string of text that needs no escape, which ours does not.
pub fn quoted(text: &str) -> String {
    debug_assert!(!text.contains(['"', '\\']) && !text.chars().any(char::is_control));
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    out.push_str(text);
    out.push('"');
    out
}

/// The real-time store's rows, table by table.
pub struct RtcRows {
    pub tables: Vec<Rows>,
}

const USERS_PER_APP: u64 = 1_200;
const CHANNELS_PER_APP: u64 = 150;
const DAY: u64 = 86_400;

/// Every table of the real-time store. `as_of` is the newest instant any row may carry.
pub fn rtc_rows(seed: u64, as_of: i64) -> RtcRows {
    let mut random = SplitMix64::new(seed);
    let mut users = Rows::new(
        "INSERT INTO users SELECT value->>0, value->>1, value->>2, value->>3, value->>4 FROM json_each(?)",
    );
    let mut devices = Rows::new(
        "INSERT INTO devices SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6 FROM json_each(?)",
    );
    let mut network = Rows::new(
        "INSERT INTO network_events SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5 FROM json_each(?)",
    );
    let mut channels =
        Rows::new("INSERT INTO channels SELECT value->>0, value->>1, value->>2, value->>3 FROM json_each(?)");
    let mut members = Rows::new(
        "INSERT INTO channel_members SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5 FROM json_each(?)",
    );
    let mut usage = Rows::new(
        "INSERT INTO usage_records SELECT value->>0, value->>1, value->>2, value->>3, value->>4 FROM json_each(?)",
    );
    let mut logs = Rows::new(
        "INSERT INTO call_logs SELECT value->>0, value->>1, value->>2, value->>3, value->>4 FROM json_each(?)",
    );
    let mut media = Rows::new(
        "INSERT INTO media_segments SELECT value->>0, value->>1, value->>2, value->>3, value->>4, unhex(value->>5) FROM json_each(?)",
    );

    let newest = u64::try_from(as_of).unwrap_or(0);
    for app in APPS {
        let tenant = quoted(app.tenant);
        let first_channel = channels.count + 1;
        let mut rooms = Vec::new();
        for n in 0..CHANNELS_PER_APP {
            // Rooms are numbered alike in every app, so their ids collide too.
            let id = app
                .channels
                .get(n as usize)
                .map_or_else(|| format!("room-{}", 56_000 + n), |id| id.to_string());
            let id = quoted(&id);
            let created = (newest - (100 + random.below(200)) * DAY).to_string();
            channels.push(&[&(channels.count + 1).to_string(), &tenant, &id, &created]);
            rooms.push(id);
        }
        for n in 0..USERS_PER_APP {
            let named = app.users.get(n as usize);
            let user = match named {
                Some(id) => (*id).to_owned(),
                // Every other id is of a series all apps use: they collide.
                None if n % 2 == 0 => format!("u_{}", 8_840_000 + n),
                None => format!("{}{:05}", app.prefix, 10_000 + n),
            };
            let user = quoted(&user);
            let user_ref = (users.count + 1).to_string();
            let since = newest - random.below(300) * DAY - random.below(DAY);
            let at = |random: &mut SplitMix64| (since + random.below(newest - since + 1)).to_string();
            users.push(&[&user_ref, &tenant, &user, &since.to_string(), &at(&mut random)]);

            for d in 0..if n % 4 == 0 { 2 } else { 1 } {
                let device = match app.device {
                    Some(id) if n == 0 && d == 0 => id.to_owned(),
                    _ => format!("device-{:012x}", random.draw() >> 16),
                };
                let device = quoted(&device);
                devices.push(&[
                    &(devices.count + 1).to_string(),
                    &tenant,
                    &user,
                    &device,
                    random.pick(&["\"phone\"", "\"tablet\"", "\"desktop\""]),
                    random.pick(&["\"Android 15\"", "\"iOS 19\"", "\"HarmonyOS 5\"", "\"Windows 11\""]),
                    &since.to_string(),
                ]);
                for _ in 0..9 {
                    // Addresses of documentation (RFC 5737).
                    let net = random.pick(&["192.0.2", "198.51.100", "203.0.113"]);
                    let ip = format!("\"{net}.{}\"", random.below(256));
                    network.push(&[
                        &(network.count + 1).to_string(),
                        &tenant,
                        &device,
                        &ip,
                        random.pick(&["\"wifi\"", "\"4g\"", "\"5g\"", "\"ethernet\""]),
                        &at(&mut random),
                    ]);
                }
            }
            for m in 0..3 {
                let room = match named {
                    Some(_) if (m as usize) < app.channels.len() => m as usize,
                    _ => random.below(CHANNELS_PER_APP) as usize,
                };
                members.push(&[
                    &(members.count + 1).to_string(),
                    &tenant,
                    &rooms[room],
                    &user,
                    random.pick(&["\"host\"", "\"audience\""]),
                    &at(&mut random),
                ]);
                usage.push(&[
                    &(usage.count + 1).to_string(),
                    &user_ref,
                    &random.below(7_200).to_string(),
                    &random.below(500_000).to_string(),
                    &at(&mut random),
                ]);
                if m == 0 {
                    media.push(&[
                        &(media.count + 1).to_string(),
                        &(first_channel + room as u64).to_string(),
                        &user,
                        random.pick(&["\"audio\"", "\"video\""]),
                        &at(&mut random),
                        &format!("\"{:016x}{:016x}\"", random.draw(), random.draw()),
                    ]);
                }
            }
            for _ in 0..4 {
                logs.push(&[
                    &(logs.count + 1).to_string(),
                    &tenant,
                    &user,
                    random.pick(&["\"joined\"", "\"left\"", "\"muted\"", "\"network-switched\""]),
                    &at(&mut random),
                ]);
            }
        }
    }
    RtcRows { tables: vec![users, devices, network, channels, members, usage, logs, media] }
}

/// PPIO's own customers; `zhao.lei@yunfan.example` is the first of them.
pub fn account_rows(seed: u64, as_of: i64) -> Vec<Rows> {
    let mut random = SplitMix64::new(seed ^ 0xacc0);
    let mut accounts = Rows::new(
        "INSERT INTO accounts SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8 FROM json_each(?)",
    );
    let mut inquiries = Rows::new(
        "INSERT INTO inquiries SELECT value->>0, value->>1, value->>2, value->>3 FROM json_each(?)",
    );
    let mut contacts = Rows::new(
        "INSERT INTO marketing_contacts SELECT value->>0, value->>1, value->>2, value->>3, value->>4 FROM json_each(?)",
    );
    let tenant = quoted(HOUSE_TENANT);
    let newest = u64::try_from(as_of).unwrap_or(0);
    for n in 0..400u64 {
        let (email, name, company, title, phone) = if n == 0 {
            (
                "zhao.lei@yunfan.example".to_owned(),
                "赵磊".to_owned(),
                "云帆数据（上海）有限公司",
                "运维经理",
                "199****0044".to_owned(),
            )
        } else {
            (
                format!("customer{n:03}@{}", random.pick(&["one.example", "two.example", "three.example"])),
                format!(
                    "{}{}",
                    random.pick(&["王", "李", "张", "刘", "陈"]),
                    random.pick(&["敏", "强", "静", "洋"])
                ),
                random.pick(&["示例科技有限公司", "样本网络有限公司", "测试传媒有限公司"]),
                random.pick(&["工程师", "采购", "经理"]),
                format!("199****{:04}", random.below(10_000)),
            )
        };
        let id = (accounts.count + 1).to_string();
        let email = quoted(&email);
        let since = (newest - random.below(700) * DAY).to_string();
        accounts.push(&[
            &id,
            &tenant,
            &email,
            &email,
            &quoted(&name),
            &quoted(company),
            &quoted(title),
            &quoted(&phone),
            &since,
        ]);
        for _ in 0..2 {
            inquiries.push(&[
                &(inquiries.count + 1).to_string(),
                &id,
                random.pick(&[
                    "\"请问如何开通边缘节点？\"",
                    "\"控制台报错，求协助。\"",
                    "\"想了解实时音视频的价格。\"",
                ]),
                &(newest - random.below(300) * DAY).to_string(),
            ]);
        }
        contacts.push(&[
            &(contacts.count + 1).to_string(),
            &tenant,
            &email,
            random.pick(&["1", "1", "0"]),
            &(newest - random.below(300) * DAY).to_string(),
        ]);
    }
    vec![accounts, inquiries, contacts]
}
