"""Every place of the command line where somebody may type a URL: `URL` and `GALLERY` are to be replaced."""

from __future__ import annotations

WATCH = "watch GALLERY clip.mp4"
COMMANDS = [
    "URL", "URL watch", "watch URL", "watch URL GALLERY", "watch GALLERY URL", f"{WATCH} URL", f"{WATCH} --URL",
    f"{WATCH} -URL", f"{WATCH} --source URL", f"{WATCH} --stride URL", f"{WATCH} --detector URL",
    f"{WATCH} --models URL", f"{WATCH} --device URL", f"{WATCH} --aspect URL", f"{WATCH} --rotate URL",
    f"{WATCH} --fpir URL", f"{WATCH} --min-face URL", f"{WATCH} --threads URL", f"{WATCH} --out=URL",
    "identify GALLERY URL", "identify URL x.jpg", "identify GALLERY x.jpg URL --json", "enroll GALLERY URL",
    "enroll URL people", "thresholds URL", "thresholds GALLERY --models URL", "gallery URL", "gallery list URL",
    "gallery remove URL x", "gallery remove GALLERY URL", "gallery verify URL",
    "gallery compact URL",
    "gallery verify GALLERY --URL", "models URL", "models list --models URL", "models list --device URL",
    "models verify --models URL", "demo URL", "doctor URL",
]  # fmt: skip
