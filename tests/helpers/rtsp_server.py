"""An RTSP server (GStreamer's) that plays pictures in a loop as H.264, for Debian's own Python, which has `gi`.

``/usr/bin/python3 rtsp_server.py PORT FOLDER WIDTH HEIGHT``; a line "WIDTH HEIGHT" on stdin changes the size at once.
"""

from __future__ import annotations

import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer


def caps(width: str, height: str) -> str:
    return f"video/x-raw,width={width},height={height}"


def main() -> None:
    port, folder, width, height = sys.argv[1:]
    Gst.init(None)
    server = GstRtspServer.RTSPServer(service=port, address="127.0.0.1")
    factory = GstRtspServer.RTSPMediaFactory(shared=True)
    factory.set_launch(
        f"( multifilesrc location={folder}/%03d.jpg loop=true caps=image/jpeg,framerate=10/1 ! jpegdec ! videoscale ! "
        f"capsfilter name=size caps={caps(width, height)} ! videoconvert ! video/x-raw,format=I420 ! "
        "x264enc tune=zerolatency speed-preset=ultrafast bitrate=2000 key-int-max=5 ! "
        "rtph264pay name=pay0 pt=96 config-interval=-1 )"
    )
    playing: list[Gst.Element] = []
    factory.connect("media-configure", lambda _, media: playing.append(media.get_element()))
    server.get_mount_points().add_factory("/live", factory)
    server.attach(None)

    def resize() -> None:
        for line in sys.stdin:
            size = playing[-1].get_by_name_recurse_up("size") or playing[-1].get_by_name("size")
            size.set_property("caps", Gst.Caps.from_string(caps(*line.split())))
        loop.quit()

    loop = GLib.MainLoop()
    threading.Thread(target=resize, daemon=True).start()
    print("ready", flush=True)
    loop.run()


if __name__ == "__main__":
    main()
