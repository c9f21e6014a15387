//! Histograms of two sides as SVG, for documents.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 40.0;
const BOTTOM: f64 = 40.0;
const TICKS: [f64; 9] = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0];

/// One side: its name, its colour, and how many lie up to each bound in milliseconds.
pub struct Side<'s> {
    pub name: &'s str,
    pub colour: &'s str,
    pub buckets: Vec<(f64, u64)>,
}

/// Shares by latency, on a logarithmic scale from 0.05 to 100 ms.
pub fn histogram(title: &str, sides: &[Side<'_>]) -> String {
    let x = |ms: f64| LEFT + (WIDTH - LEFT) * ((ms.clamp(0.05, 100.0) / 0.05).log10() / (100.0f64 / 0.05).log10());
    let share =
        |side: &Side<'_>, count: u64| count as f64 / side.buckets.iter().map(|(_, n)| n).sum::<u64>().max(1) as f64;
    let shares = sides.iter().flat_map(|side| side.buckets.iter().map(move |(_, count)| share(side, *count)));
    let most = shares.fold(0.01, f64::max);
    let floor = HEIGHT - BOTTOM;
    let y = |share: f64| floor - (floor - 40.0) * share / most;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\"><title>{title}</title><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\
         <text x=\"{LEFT}\" y=\"16\">{title}</text>"
    );
    for tick in TICKS {
        let at = x(tick);
        let _ = write!(
            svg,
            "<path d=\"M{at:.1} 40V{floor}\" stroke=\"#ddd\"/><text x=\"{at:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{tick}</text>",
            floor + 16.0
        );
    }
    let _ = write!(svg, "<text x=\"{WIDTH}\" y=\"{:.0}\" text-anchor=\"end\">ms</text>", floor + 32.0);
    for (place, side) in sides.iter().enumerate() {
        let mut path = format!("M{LEFT} {floor}");
        let mut from = LEFT;
        for (bound, count) in &side.buckets {
            let (to, top) = (x(*bound), y(share(side, *count)));
            let _ = write!(path, "L{from:.1} {top:.1}L{to:.1} {top:.1}");
            from = to;
        }
        let _ = write!(
            svg,
            "<path d=\"{path}L{from:.1} {floor}Z\" fill=\"{0}\" fill-opacity=\"0.35\" stroke=\"{0}\"/>\
             <text x=\"{1:.0}\" y=\"34\" fill=\"{0}\">{2}</text>",
            side.colour,
            LEFT + 160.0 * place as f64,
            side.name
        );
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_has_both_sides_and_closes_what_it_opens() {
        let side = |name, buckets| Side { name, colour: "#06c", buckets };
        let svg = histogram("initiate→incoming", &[side("ours", vec![(0.5, 3), (1.0, 1)]), side("other", vec![])]);
        assert!(svg.contains(">ours<") && svg.contains(">other<") && !svg.contains("NaN"), "{svg}");
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        assert!(svg.ends_with("</svg>\n"));
    }
}
