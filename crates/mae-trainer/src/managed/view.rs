//! What is shown of a training.

use burn_train::Interrupter;
use burn_train::renderer::MetricsRenderer;

use super::quiet::Quiet;

/// What is shown of a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Nothing.
    Quiet,
    /// A line now and then.
    Lines,
    /// burn-train's full-screen view.
    #[cfg(feature = "tui")]
    FullScreen,
}

impl View {
    /// The full-screen view in a terminal, if it is compiled in; otherwise lines, or nothing.
    pub fn choose(quiet: bool) -> Self {
        #[cfg(feature = "tui")]
        if !quiet && std::io::IsTerminal::is_terminal(&std::io::stdout()) {
            return Self::FullScreen;
        }
        if quiet { Self::Quiet } else { Self::Lines }
    }

    pub(super) fn renderer(self, _interrupter: &Interrupter) -> Box<dyn MetricsRenderer> {
        match self {
            Self::Quiet | Self::Lines => Box::new(Quiet),
            #[cfg(feature = "tui")]
            Self::FullScreen => {
                let tui =
                    burn_train::renderer::tui::TuiMetricsRendererWrapper::new(_interrupter.clone(), None);
                Box::new(tui)
            }
        }
    }

    /// Lets Ctrl-C ask to stop in the full-screen view too: its raw mode makes a key of it that nobody reads.
    pub(super) fn hear_interrupts(self) {
        #[cfg(all(unix, feature = "tui"))]
        if self == Self::FullScreen {
            use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
            let stdin = std::io::stdin();
            if let Ok(mut modes) = tcgetattr(&stdin)
                && !modes.local_modes.contains(LocalModes::ISIG)
            {
                modes.local_modes.insert(LocalModes::ISIG);
                // Without it there is still `q`.
                let _ = tcsetattr(&stdin, OptionalActions::Now, &modes);
            }
        }
    }
}
