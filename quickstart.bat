@echo off
rem Double-click, or type the name with arguments: goes on in scripts\launch.bat.
if exist "%~dp0scripts\launch.bat" goto found
echo Unpack the whole folder first, then run the .bat in it. >&2
if not defined CI if not defined NO_PAUSE pause
exit /b 2
:found
"%~dp0scripts\launch.bat" quickstart %*
