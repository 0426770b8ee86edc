"""PSI Jungfrau: its datagrams, a simulator of its wire, and what makes frames of them."""
