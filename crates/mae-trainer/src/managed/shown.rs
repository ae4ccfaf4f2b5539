//! What burn-train shows during training.

use burn_train::Interrupter;
use burn_train::renderer::MetricsRenderer;

use super::quiet::Quiet;
#[cfg(feature = "tui")]
use super::screen;

/// What burn-train shows during training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// Nothing.
    Quiet,
    /// burn-train's full-screen view.
    #[cfg(feature = "tui")]
    FullScreen,
}

impl Screen {
    /// Chooses the full-screen view if it is compiled in, standard output is a terminal and `quiet` is false; otherwise
    /// nothing.
    pub fn choose(quiet: bool) -> Self {
        #[cfg(feature = "tui")]
        if !quiet && std::io::IsTerminal::is_terminal(&std::io::stdout()) {
            return Self::FullScreen;
        }
        let _ = quiet;
        Self::Quiet
    }

    pub(super) fn renderer(self, _interrupter: &Interrupter) -> Box<dyn MetricsRenderer> {
        match self {
            Self::Quiet => Box::new(Quiet),
            #[cfg(feature = "tui")]
            Self::FullScreen => screen::open(_interrupter),
        }
    }

    /// Lets Ctrl-C request a stop in the full-screen view too. In the view's raw mode, it is only a key, which nobody
    /// reads.
    pub(super) fn hear_interrupts(self) {
        #[cfg(feature = "tui")]
        if self == Self::FullScreen {
            screen::hear_interrupts();
        }
    }

    /// Called once the view has closed and restored the terminal.
    pub(super) fn closed(self) {
        #[cfg(feature = "tui")]
        if self == Self::FullScreen {
            screen::closed();
        }
    }
}
