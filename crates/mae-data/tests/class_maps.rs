//! Class maps in files, and those of well-known data sets.

use mae_data::{ClassMap, DataError, IGNORE, label_colour};

fn load(name: &str, text: &str) -> Result<ClassMap, DataError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    ClassMap::load(path)
}

fn refused(text: &str) -> String {
    let error = load("classes.toml", text).unwrap_err();
    assert!(error.is_of_label_maps());
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message}");
    message.split_once("classes.toml: ").unwrap().1.to_owned()
}

const STREETS: &str = r##"
ignore = [255, "#e0e0c0"]
[[class]]
name = "road"
value = 7
colour = "#804080"
[[class]]
name = "car"
value = [26, 27]
color = [[0, 0, 142], "#000046"]
[[class]]
name = "person"
colour = [220, 20, 60]
"##;

#[test]
fn toml_and_json_say_the_same() {
    let json = r##"{"ignore": [255, "#e0e0c0"], "classes": [{"name": "road", "value": 7, "colour": "#804080"},
        {"name": "car", "value": [26, 27], "colour": [[0, 0, 142], [0, 0, 70]]}, {"name": "person", "color": "#DC143C"}]}"##;
    let [toml, json] = [load("a.toml", STREETS), load("b.JSON", json)].map(Result::unwrap);
    assert_eq!(toml, json);
    assert_eq!(toml.classes(), ["road", "car", "person"]);
    let values = [7, 26, 27, 255, 0, 300].map(|value| toml.of_value(value));
    assert_eq!(values, [Some(0), Some(1), Some(1), Some(IGNORE), None, None]);
    let colours = [[128, 64, 128], [0, 0, 70], [220, 20, 60], [224, 224, 192], [1, 2, 3]];
    let colours = colours.map(|colour| toml.of_colour(colour));
    assert_eq!(colours, [Some(0), Some(1), Some(2), Some(IGNORE), None]);
}

#[test]
fn a_class_map_survives_being_written() {
    for map in [load("a.toml", STREETS).unwrap(), ClassMap::voc(), ClassMap::ade20k()] {
        let text = toml::to_string(&map).unwrap();
        assert_eq!(toml::from_str::<ClassMap>(&text).unwrap(), map, "{text}");
        let text = serde_json::to_string(&map).unwrap();
        assert_eq!(serde_json::from_str::<ClassMap>(&text).unwrap(), map, "{text}");
    }
}

#[test]
fn known_data_sets_have_their_values() {
    let voc = ClassMap::voc();
    assert_eq!((voc.classes().len(), &*voc.classes()[0], &*voc.classes()[15]), (21, "background", "person"));
    assert_eq!([0, 20, 21, 255].map(|v| voc.of_value(v)), [Some(0), Some(20), None, Some(IGNORE)]);
    assert_eq!(voc.of_colour(label_colour(15)), Some(15));
    let ade = ClassMap::ade20k();
    assert_eq!((ade.classes().len(), &*ade.classes()[0], &*ade.classes()[149]), (150, "wall", "flag"));
    assert_eq!([0, 1, 150, 151].map(|v| ade.of_value(v)), [Some(IGNORE), Some(0), Some(149), None]);
}

#[test]
fn what_makes_no_class_map_is_refused_in_a_line() {
    let class = |name: &str, rest: &str| format!("[[class]]\nname = \"{name}\"\n{rest}\n");
    let two = |rest: &str| class("a", "value = 0") + &class("b", rest);
    assert_eq!(refused(&class("a", "value = 1")), "it has 1 class(es), but must have 2 to 65534");
    assert_eq!(refused(&two("value = 0")), "0 occurs twice: in the class \"a\" and in the class \"b\"");
    assert_eq!(
        refused(&format!("ignore = [0]\n{}", two("value = 1"))),
        "0 occurs twice: in the class \"a\" and in ignore"
    );
    assert_eq!(refused(&two("")), "the class \"b\" has neither a value nor a colour");
    assert_eq!(
        refused(&(two("value = 1") + &class("a", "value = 2"))),
        "two classes are called \"a\"; list several values in one class"
    );
    assert_eq!(
        refused(&two("value = 70000")),
        "line 6: a value must be a whole number from 0 to 65535, or a list of them"
    );
    assert_eq!(
        refused(&two("colour = \"#12345\"")),
        "line 6: a colour must be \"#rrggbb\" or [red, green, blue], or a list of these"
    );
    assert!(refused(&two("values = 1")).starts_with("line 6: unknown field `values`"));
    assert!(refused(&format!("ignored = [1]\n{}", two("value = 1"))).contains("unknown field `ignored`"));
    assert!(refused("[[class]\n").starts_with("line 1: "));
    // A line break that a message quotes from the file is escaped.
    let error = load("classes.json", r#"{"a\nb": 1}"#).unwrap_err().to_string();
    assert!(error.contains(r"unknown field `a\nb`") && !error.contains('\n'), "{error}");
    let line_break = |value: u8| class(r"a\nb", &format!("value = {value}"));
    assert!(refused(&(line_break(1) + &line_break(2))).contains(r#"two classes are called "a\nb""#));
    let error = load("classes.txt", STREETS).unwrap_err().to_string();
    assert!(error.ends_with("its name must end in .toml or .json"), "{error}");
    assert!(load("a.json", "{").unwrap_err().to_string().contains("line 1"));
    let missing = ClassMap::load("missing.toml").unwrap_err().to_string();
    assert!(missing.starts_with("cannot use the class map missing.toml: "), "{missing}");
}

#[test]
fn classes_by_their_place_need_names_of_their_own() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let map = ClassMap::of_values(names(&["sky", "sea", "land"]), &[255]).unwrap();
    assert_eq!([0, 2, 3, 255].map(|v| map.of_value(v)), [Some(0), Some(2), None, Some(IGNORE)]);
    for (names, ignore, part) in [
        (names(&["sky"]), vec![], "1 class(es)"),
        (names(&["sky", "sky"]), vec![], "two classes are called \"sky\""),
        (names(&["sky", " "]), vec![], "class 1 (counted from 0) has an empty name"),
        (names(&["sky", "sea"]), vec![1], "1 occurs twice"),
    ] {
        let error = ClassMap::of_values(names, &ignore).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
