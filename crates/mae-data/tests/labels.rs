//! Tables of classes, and held-out sets, for a folder of images.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use mae_data::{DataError, FolderOptions, ImageFolder, ImageSource, LabelTable, Shapes, Subset};

/// A folder of empty files with these names. Nothing reads their content.
fn folder(at: &Path, names: &[&str]) -> ImageFolder {
    for name in names {
        fs::create_dir_all(at.join(name).parent().unwrap()).unwrap();
        fs::write(at.join(name), "").unwrap();
    }
    ImageFolder::open(at, FolderOptions::default()).unwrap()
}

/// The class of each image in the folder `images`, according to a table with this name and text beside it.
fn labelled(at: &Path, name: &str, text: &str) -> Result<Vec<Option<String>>, DataError> {
    fs::write(at.join(name), text).unwrap();
    let table = LabelTable::read(at.join(name))?;
    let folder = ImageFolder::open(at.join("images"), FolderOptions::default())?.with_labels(&table)?;
    assert_eq!(folder.class_names(), ["cat", "dog"]);
    let class = |index| folder.label(index).map(|label| folder.class_names()[label as usize].clone());
    Ok((0..folder.len()).map(class).collect())
}

const IMAGES: [&str; 3] = ["images/a/one.jpg", "images/b/one.png", "images/two.jpg"];

#[test]
fn tables_are_read_as_people_write_them() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    folder(at, &IMAGES);
    let absolute = at.join("images/two.jpg").display().to_string();
    for (name, text) in [
        ("a.csv", "path,class\na/one.jpg,cat\ntwo.jpg,dog\n"),
        // Columns in any position and case, among others; a byte order mark and CRLF; names relative to the table's
        // folder.
        (
            "b.csv",
            "\u{feff}Split,LABEL,File_Name\r\ntrain,cat,images/a/one.jpg\r\ntest,dog,./images/two.jpg\r\n",
        ),
        ("c.csv", "class;image\n cat ;\"a/one.jpg\"\ndog;two\n"),
        // No header, and a row without a class; then an unknown column name beside a known one.
        ("d.csv", "one.jpg,cat\ntwo.jpg,dog\none.png,\n"),
        ("e.csv", "image_id,breed\ntwo,dog\none.jpg,cat\n"),
        ("f.tsv", "path\tlabel\na/one.jpg\tcat\ntwo.jpg\tdog\n"),
        (
            "g.jsonl",
            "{\"file_name\": \"a/one.jpg\", \"label\": \"cat\"}\n\n{\"label\": [\"dog\"], \"file_name\": \"two.jpg\"}",
        ),
        ("h.csv", &format!("path,class\none.jpg,cat\none.jpg,cat\n{absolute},dog\nnone.jpg,dog\n")),
    ] {
        let classes = labelled(at, name, text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(classes, [Some("cat".into()), None, Some("dog".into())], "{name}");
    }
}

#[test]
fn images_may_have_several_classes_where_a_table_says_so() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    folder(at, &["images/1.jpg", "images/2.jpg", "images/3.jpg", "images/4.jpg"]);
    let read = |name: &str, text: &str, list: Option<&str>| {
        fs::write(at.join(name), text).unwrap();
        let table = match list {
            Some(list) => LabelTable::read_lists(at.join(name), list),
            None => LabelTable::read(at.join(name)),
        };
        let open = ImageFolder::open(at.join("images"), FolderOptions::default()).unwrap();
        open.with_labels(&table.unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let labels = |folder: &ImageFolder| (0..4).map(|i| folder.labels(i)).collect::<Vec<_>>();
    let expected = [Some(vec![0, 2]), Some(vec![1]), Some(vec![]), None];
    for (name, text, list) in [
        ("a.csv", "path,tags\n1.jpg, c; a\n2.jpg,b\n3.jpg,\n", Some(";")),
        // The separator of classes is not mistaken for that of columns.
        ("b.csv", "1.jpg,c;a;;a\n2.jpg,b\n3.jpg,;\n", Some(";")),
        ("c.csv", "path;class\n1.jpg;a,c\n2.jpg;b\n3.jpg;\n", Some(",")),
        // Quoted lists, a separator of two characters, and several rows for one image.
        ("q.csv", "path,class\n1.jpg,\"c,a\"\n2.jpg,b\n3.jpg,\n", Some(",")),
        ("r.csv", "path;class\n1.jpg;\"c;a\"\n2.jpg;b\n3.jpg;\n", Some(";")),
        ("s.csv", "1.jpg,c; a\n2.jpg,b\n3.jpg,\n", Some("; ")),
        ("d.tsv", "path\tclass\n1.jpg\tc\n2.jpg\tb\n1.jpg\ta c\n3.jpg\t\n", Some(" ")),
        ("e.csv", "a,image,b,c\n1,1.jpg,0,1\n0,2.jpg,1.0,0\n0,3.jpg,0,0\n", None),
        (
            "f.jsonl",
            "{\"path\": \"1.jpg\", \"labels\": [\"a\", \"c\"]}\n{\"path\": \"2.jpg\", \"labels\": [\"b\"]}\n\
             {\"path\": \"3.jpg\", \"labels\": []}\n{\"path\": \"4.jpg\", \"labels\": null}",
            None,
        ),
        (
            "g.jsonl",
            "{\"path\": \"1.jpg\", \"labels\": \"a|c\"}\n{\"path\": \"2.jpg\", \"labels\": \"b\"}\n\
             {\"path\": \"3.jpg\", \"labels\": \"\"}",
            Some("|"),
        ),
    ] {
        let folder = read(name, text, list);
        assert!(folder.is_multi_label(), "{name}");
        assert_eq!(folder.class_names(), ["a", "b", "c"], "{name}");
        assert_eq!(labels(&folder), expected, "{name}");
        assert_eq!(folder.label(0), None, "{name}");
    }

    // With exactly one 1 per row, or lists of one class, a table is single-label. Rows whose image does not exist do
    // not count.
    for (name, text) in [
        ("h.csv", "image,a,b\n1.jpg,0,1\n2.jpg,1,0\n9.jpg,1,1\n"),
        ("i.jsonl", "{\"path\": \"1.jpg\", \"class\": [\"b\"]}\n{\"path\": \"2.jpg\", \"class\": \"a\"}"),
        (
            "t.jsonl",
            "{\"path\": [\"1.jpg\"], \"class\": [\"b\", \"b\", null]}\n{\"path\": \"2.jpg\", \"class\": \"a\"}\n\
             {\"path\": \"3.jpg\", \"class\": [null]}",
        ),
    ] {
        let folder = read(name, text, None);
        assert!(!folder.is_multi_label(), "{name}");
        assert_eq!((folder.label(0), folder.label(1), folder.label(2)), (Some(1), Some(0), None), "{name}");
        assert_eq!(folder.labels(0), Some(vec![1]), "{name}");
    }

    // Two folders agree on the classes and on whether an image may have several.
    let several = read("j.csv", "path,class\n1.jpg,c a\n", Some(" "));
    let (one, several) = read("k.csv", "path,class\n1.jpg,b\n2.jpg,c\n", None).with_common_classes(several);
    assert_eq!((one.class_names(), one.is_multi_label()), (several.class_names(), true));
    assert_eq!((one.labels(1), several.labels(0)), (Some(vec![2]), Some(vec![0, 2])));

    let error = LabelTable::read_lists(at.join("a.csv"), "").unwrap_err().to_string();
    assert!(error.contains("label_separator"), "{error}");
    let error = mae_data::pack(&one, at.join("packed"), &mae_data::PackOptions::default(), |_, _| ());
    assert!(error.unwrap_err().to_string().contains("packed images have one class"));
}

#[test]
fn a_share_of_images_with_several_classes_is_held_out_by_the_rarest() {
    let at = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..400).map(|i| format!("{i:03}.jpg")).collect();
    let images = folder(&at.path().join("images"), &names.iter().map(String::as_str).collect::<Vec<_>>());
    // Every image has `all`, every tenth also `some`. Four have `rare`, two of them beside `some`.
    let rare = [10, 20, 31, 41];
    let row = |i: usize| {
        let classes = [
            "all",
            if i.is_multiple_of(10) { "some" } else { "" },
            if rare.contains(&i) { "rare" } else { "" },
        ];
        format!("{i:03}.jpg,{}\n", classes.join(";"))
    };
    let text: String = (0..400).map(row).collect();
    fs::write(at.path().join("t.csv"), format!("path,class\n{text}")).unwrap();
    let table = LabelTable::read_lists(at.path().join("t.csv"), ";").unwrap();
    let source: Arc<dyn ImageSource> = Arc::new(images.with_labels(&table).unwrap());
    for seed in 0..8 {
        let (train, val) = Subset::split(&source, 0.25, seed).unwrap();
        let count = |part: &Subset, class: &str| {
            let class = part.class_names().iter().position(|name| name == class).unwrap() as u32;
            (0..part.len()).filter(|i| part.labels(*i).unwrap().contains(&class)).count()
        };
        assert_eq!((count(&train, "rare"), count(&val, "rare")), (3, 1));
        assert_eq!(train.len() + val.len(), 400);
        let some = count(&val, "some");
        assert!((10..=11).contains(&some), "{some}");
        assert!(val.is_multi_label() && val.label(0).is_none());
    }
}

#[test]
fn classes_are_those_of_the_images_in_their_order() {
    let at = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..4).map(|i| format!("images/{i}.jpg")).collect();
    folder(at.path(), &names.iter().map(String::as_str).collect::<Vec<_>>());
    let of = |text: &str| {
        fs::write(at.path().join("t.csv"), text).unwrap();
        let table = LabelTable::read(at.path().join("t.csv")).unwrap();
        let folder = ImageFolder::open(at.path().join("images"), FolderOptions::default()).unwrap();
        folder.with_labels(&table).unwrap()
    };
    // Integers are sorted numerically, as in numpy. A row without an image adds no class.
    let integers = of("path,class\n0,10\n1,9\n2,-1\n3,9\n4,8\n");
    assert_eq!(integers.class_names(), ["-1", "9", "10"]);
    assert_eq!((0..4).map(|i| integers.label(i)).collect::<Vec<_>>(), [Some(2), Some(1), Some(0), Some(1)]);
    assert_eq!(of("path,class\n0,10\n1,9\n2,x\n").class_names(), ["10", "9", "x"]);

    // Two tables get the classes of both. A table beside class folders gets theirs.
    let (first, second) = of("path,class\n0,2\n1,10\n").with_common_classes(of("path,class\n0,3\n1,10\n"));
    assert_eq!(
        (first.class_names(), second.class_names()),
        (&["2", "3", "10"].map(String::from)[..], first.class_names())
    );
    assert_eq!(
        [first.label(0), first.label(1), second.label(0), second.label(1)],
        [Some(0), Some(2), Some(1), Some(2)]
    );
    let folders = folder(&at.path().join("classes"), &["10/a.jpg", "2/a.jpg"]);
    let (by_table, by_folder) = of("path,class\n0,2\n1,10\n").with_common_classes(folders.clone());
    assert_eq!((by_table.class_names(), by_table.label(0)), (by_folder.class_names(), Some(1)));
    let (other, _) = of("path,class\n0,7\n").with_common_classes(folders);
    assert_eq!(other.class_names(), ["7"]);
}

#[test]
fn a_row_that_names_an_image_in_each_of_two_folders_is_refused() {
    let at = tempfile::tempdir().unwrap();
    let [train, val] = ["train", "val"].map(|part| folder(&at.path().join(part), &["1.jpg", "2.jpg"]));
    let check = |text: &str| {
        fs::write(at.path().join("t.csv"), text).unwrap();
        train.check_apart(&val, &LabelTable::read(at.path().join("t.csv")).unwrap())
    };
    check("path,class\ntrain/1.jpg,a\nval/1.jpg,b\n").unwrap();
    let error = check("path,class\ntrain/1.jpg,a\n2.jpg,b\n").unwrap_err().to_string();
    assert!(error.contains("line 3: 2.jpg") && error.contains("/train and one in "), "{error}");
    train.check_apart(&train, &LabelTable::read(at.path().join("t.csv")).unwrap()).unwrap();
}

#[cfg(unix)]
#[test]
fn paths_from_the_table_lead_through_other_folders_and_links() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    folder(at, &["images/a/1.jpg", "images/b/1.jpg"]);
    fs::create_dir(at.join("tables")).unwrap();
    std::os::unix::fs::symlink(at.join("images"), at.join("link")).unwrap();
    let real = at.join("images/a/1.jpg").canonicalize().unwrap();
    for (text, root) in [
        ("path,class\n../images/a/1.jpg,x\n".to_owned(), "images"),
        ("path,class\n../images/a/1.jpg,x\n".to_owned(), "tables/../link"),
        (format!("path,class\n{},x\n", real.display()), "link"),
    ] {
        fs::write(at.join("tables/t.csv"), text).unwrap();
        let table = LabelTable::read(at.join("tables/t.csv")).unwrap();
        let folder = ImageFolder::open(at.join(root), FolderOptions::default()).unwrap();
        let folder = folder.with_labels(&table).unwrap_or_else(|error| panic!("{root}: {error}"));
        assert_eq!((folder.label(0), folder.label(1)), (Some(0), None));
    }
}

#[test]
fn tables_that_say_nothing_certain_are_refused_with_the_line() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    folder(at, &IMAGES);
    for (name, text, words) in [
        ("a.csv", "path,class\none,cat\n", &["a.csv", "line 2", "several images are called one", "path"][..]),
        ("b.csv", "path,class\ntwo,cat\n\ntwo.jpg,dog\n", &["line 4", "dog", "cat in line 2"]),
        (
            "c.csv",
            "path,class\nx.jpg,cat\ny.jpg,dog\n",
            &["none of its 2 images is in", "images; the first are x.jpg, y.jpg"],
        ),
        ("d.csv", "width,height,split\n1,2,train\n", &["path, file", "class, label", "width, height, split"]),
        ("e.csv", "split,class,path\ntrain,dog\n", &["line 2 has 2 fields", "column 3"]),
        ("f.csv", "path,class\n", &["no row"]),
        ("j.csv", "path,class\ntwo,\"a\nb\"\n", &["line 2 has a control character"]),
        ("g.txt", "path,class\ntwo,cat\n", &[".csv", ".tsv", ".jsonl"]),
        (
            "h.jsonl",
            "{\"path\": \"two\", \"class\": {\"a\": 1}}",
            &["line 1", "class is {\"a\":1}", "a string"],
        ),
        ("k.jsonl", "{\"path\": \"two\", \"class\": [1, 0.5]}", &["line 1", "class is 0.5", "an integer"]),
        ("l.csv", "path,width,height\ntwo,2,3\n", &["one of 0 and 1 for each class", "path, width, height"]),
        ("n.csv", ",path,a\n1,two,1\n0,one.jpg,0\n", &["a column without a name", ", path, a"]),
        ("o.csv", "path,a,a\ntwo,1,1\n", &["two columns of the same name", "path, a, a"]),
        (
            "p.jsonl",
            "{\"path\": \"two\", \"a\": 1, \"b\": 0}",
            &["line 1: it needs a field", "has: a, b, path"],
        ),
        ("m.csv", "path,a,b\ntwo,0,1\none.jpg,1,-1\n", &["line 3: b is \"-1\"", "0 or 1"]),
        ("i.jsonl", "[1]", &["line 1 is not a JSON object"]),
    ] {
        let error = labelled(at, name, text).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
    let error = LabelTable::read(at.join("none.csv")).unwrap_err().to_string();
    assert!(error.contains("none.csv") && error.contains("No such file"), "{error}");
}

#[test]
fn a_share_of_each_class_is_held_out_by_the_seed_alone() {
    let shapes: Arc<dyn ImageSource> = Arc::new(Shapes::new(0, 403, (16, 16)).unwrap());
    let names = |part: &Subset| -> BTreeSet<String> { (0..part.len()).map(|i| part.name(i)).collect() };
    let classes = |source: &dyn ImageSource| {
        let mut counts = vec![0_usize; source.class_names().len()];
        (0..source.len()).for_each(|i| counts[source.label(i).unwrap() as usize] += 1);
        counts
    };
    let (train, val) = Subset::split(&shapes, 0.2, 7).unwrap();
    for ((all, train), val) in classes(shapes.as_ref()).into_iter().zip(classes(&train)).zip(classes(&val)) {
        assert_eq!((val, train), ((all as f64 * 0.2).round() as usize, all - val));
    }
    assert!(names(&train).is_disjoint(&names(&val)));
    assert_eq!(names(&train).len() + names(&val).len(), 403);
    let (_, again) = Subset::split(&shapes, 0.2, 7).unwrap();
    assert_eq!(names(&again), names(&val));
    let (_, other) = Subset::split(&shapes, 0.2, 8).unwrap();
    // Two independent fifths share a fifth of their images.
    let common = names(&other).intersection(&names(&val)).count();
    assert!((4..40).contains(&common), "{common}");
    assert_eq!(val.load(3).unwrap(), shapes.load(names_index(&val.name(3))).unwrap());

    for share in [0.0, 1.0, -0.1, f64::NAN] {
        let error = Subset::split(&shapes, share, 0).err().unwrap().to_string();
        assert!(error.contains("val_share") && error.contains("between 0 and 1"), "{error}");
    }
    assert!(matches!(Subset::new(shapes, vec![402, 403]), Err(DataError::Index { index: 403, len: 403 })));
}

/// The index in a name such as `shapes/00012`.
fn names_index(name: &str) -> usize {
    name.rsplit('/').next().unwrap().parse().unwrap()
}

#[test]
fn a_class_of_two_has_one_image_on_either_side_and_one_of_one_is_trained_on() {
    let at = tempfile::tempdir().unwrap();
    let few: Arc<dyn ImageSource> =
        Arc::new(folder(at.path(), &["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg", "c/1.jpg"]));
    for (share, held_out) in [(0.01, 2), (0.99, 2)] {
        let (train, val) = Subset::split(&few, share, 0).unwrap();
        assert_eq!((train.len(), val.len()), (5 - held_out, held_out));
        let labels: Vec<_> = (0..val.len()).map(|i| val.label(i).unwrap()).collect();
        assert_eq!(labels, [0, 1]);
    }
    let at = tempfile::tempdir().unwrap();
    let one: Arc<dyn ImageSource> = Arc::new(folder(at.path(), &["a/1.jpg"]));
    let error = Subset::split(&one, 0.5, 0).err().unwrap().to_string();
    assert!(error.contains("holds out none of 1 images"), "{error}");
}
