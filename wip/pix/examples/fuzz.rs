//! Scratch: many changed files.
#![allow(clippy::print_stdout)]
fn main() {
    let rounds: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let mut state = std::env::args().nth(2).unwrap().parse::<u64>().unwrap();
    let mut random = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize
    };
    let mut files: Vec<_> = std::fs::read_dir("golden")
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "tif" || e == "npy"))
        .collect();
    files.sort();
    let (mut ok, mut bad, mut un, mut large) = (0, 0, 0, 0);
    for path in files {
        let npy = path.extension().unwrap() == "npy";
        let file = std::fs::read(&path).unwrap();
        if file.len() > 100_000 {
            continue;
        }
        for _ in 0..rounds {
            let mut c = file.clone();
            let rich: Vec<usize> = if npy {
                (0..c.len().min(128)).collect()
            } else {
                let le = c[0] == b'I';
                let big = c[if le { 2 } else { 3 }] == 43;
                let num = |b: &[u8]| {
                    if le {
                        b.iter().rev().fold(0usize, |n, b| n << 8 | *b as usize)
                    } else {
                        b.iter().fold(0, |n, b| n << 8 | *b as usize)
                    }
                };
                let at = if big { num(&c[8..16]) } else { num(&c[4..8]) };
                (at.min(c.len() - 1)..(at + 400).min(c.len())).collect()
            };
            for _ in 0..1 + random() % 4 {
                let at = if random() % 4 > 0 { rich[random() % rich.len()] } else { random() % c.len() };
                c[at] = [0, 1, 2, 3, 7, 8, 16, 0x7f, 0x80, 0xff, random() as u8][random() % 11];
            }
            if random() % 10 == 0 {
                let l = random() % c.len();
                c.truncate(l);
            }
            let max = [1 << 10, 1 << 16, 1 << 20, 1 << 26][random() % 4];
            let started = std::time::Instant::now();
            let (h, r) = if npy {
                (pix::npy::header(&c), pix::npy::read(&c, max))
            } else {
                (pix::tiff::header(&c), pix::tiff::read(&c, max))
            };
            if started.elapsed().as_millis() > 500 {
                println!("slow {path:?} {:?} {:?}", started.elapsed(), r.as_ref().err());
            }
            match r {
                Ok(s) => {
                    ok += 1;
                    let h = h.unwrap();
                    assert_eq!((h.height, h.width, h.channels), (s.height, s.width, s.channels));
                }
                Err(pix::Problem::Damaged(_)) => bad += 1,
                Err(pix::Problem::Unsupported(_)) => un += 1,
                Err(pix::Problem::TooLarge { .. }) => large += 1,
            }
        }
    }
    println!("ok {ok} damaged {bad} unsupported {un} large {large}");
}
