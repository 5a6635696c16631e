@echo off
rem Finds a Python by running it, and hands over to launch.py: launch.bat NAME [arguments].
rem The .bat files in the folder above come here. The Python that is found says where it is,
rem because a python.bat that stands for it (pyenv) could only be run with CALL, which changes
rem arguments; what only points to the Microsoft Store says nothing.
setlocal DisableDelayedExpansion
set "PYTHONUTF8=1"
set "PAGE="
for /f "tokens=2 delims=:." %%a in ('chcp 2^>nul') do set "PAGE=%%a"
chcp 65001 >nul 2>&1
set "FOUND="
set "ASK=%~dp0launch_parts\this_python.py"
for /f "tokens=1* delims==" %%a in ('py -3.13 "%ASK%" 2^>nul') do if "%%a"=="PYTHON" set "FOUND=%%b"
if defined FOUND goto run
for /f "tokens=1* delims==" %%a in ('py -3.12 "%ASK%" 2^>nul') do if "%%a"=="PYTHON" set "FOUND=%%b"
if defined FOUND goto run
for /f "tokens=1* delims==" %%a in ('py -3.11 "%ASK%" 2^>nul') do if "%%a"=="PYTHON" set "FOUND=%%b"
if defined FOUND goto run
for /f "tokens=1* delims==" %%a in ('python "%ASK%" 2^>nul') do if "%%a"=="PYTHON" set "FOUND=%%b"
if defined FOUND goto run
set "FOUND=%~dp0..\.venv\Scripts\python.exe"
"%FOUND%" "%ASK%" >nul 2>&1
if "%ERRORLEVEL%"=="0" goto run
type "%~dp0no_python.txt" >&2
set "RC=2"
goto end

:run
"%FOUND%" "%~dp0launch.py" %*
set "RC=%ERRORLEVEL%"

:end
if defined PAGE chcp %PAGE% >nul 2>&1
if defined CI goto quit
if defined NO_PAUSE goto quit
rem A double click makes a command line that ends in: quote, space, quote.
setlocal EnableDelayedExpansion
set "TAIL=!CMDCMDLINE:~-3!"
set "TAIL=!TAIL:"=/!"
if "!TAIL!"=="/ /" pause
endlocal

:quit
endlocal & exit /b %RC%
